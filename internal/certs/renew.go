package certs

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/poll"
)

// Renew renews the certificates that are due, or all that PAI renews, and restarts
// what reads its certificate only at its start. It returns the renewed files, also
// with an error; a file that cannot be renewed does not keep others from it.
//
// A machine with the key of an authority signs with it. Another machine asks the
// API, as its kubelet: an identity that the kubelet keeps alive itself.
func (s Store) Renew(ctx context.Context, all bool) (renewed []string, err error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	var failed []error
	for _, f := range files() {
		if f.kind != kindPair && f.kind != kindKubeconfig {
			continue
		}
		done, err := s.renewFile(ctx, f, all)
		if err == nil && f.role != "" {
			err = s.restart(ctx, f)
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("renew %s: %w", f.path, err))
		}
		if done {
			renewed = append(renewed, f.path)
		}
	}
	return renewed, errors.Join(failed...)
}

// renewFile renews one file if it is there and due.
func (s Store) renewFile(ctx context.Context, f file, all bool) (bool, error) {
	old, err := s.certificate(f)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if !all && !Due(old, s.Now()) {
		return false, nil
	}
	var until time.Time
	if f.kind == kindPair {
		until, err = s.renewPair(f, old)
	} else {
		until, err = s.renewKubeconfig(ctx, f, old)
	}
	if err != nil {
		return false, err
	}
	s.Log.Info("renewed a certificate", "file", f.path, "until", until.UTC().Format(time.RFC3339))
	return true, nil
}

// renewPair renews a certificate and keeps its key. Certificate and key are two
// files: with a new key, there would be a moment in which they do not match, and
// connections at that moment would fail.
func (s Store) renewPair(f file, old *x509.Certificate) (time.Time, error) {
	ca, err := s.issuer(f.signer)
	if err != nil {
		return time.Time{}, err
	}
	data, err := s.read(f.key)
	if err != nil {
		return time.Time{}, err
	}
	key, err := parseKey(data)
	if err != nil {
		return time.Time{}, fmt.Errorf("read %s: %w", f.key, err)
	}
	cert, err := ca.renew(old, key.Public(), s.Now())
	if err != nil {
		return time.Time{}, err
	}
	return s.put(f, old, cert, cert, 0o644)
}

// renewKubeconfig gives a kubeconfig a new certificate with a new key.
func (s Store) renewKubeconfig(ctx context.Context, f file, old *x509.Certificate) (time.Time, error) {
	data, err := s.read(f.path)
	if err != nil {
		return time.Time{}, err
	}
	key, encoded, err := newKey()
	if err != nil {
		return time.Time{}, err
	}
	ca, err := s.issuer(f.signer)
	var cert []byte
	switch {
	case err == nil:
		cert, err = ca.renew(old, key.Public(), s.Now())
	case errors.Is(err, fs.ErrNotExist):
		cert, err = s.request(ctx, data, old, key)
	}
	if err != nil {
		return time.Time{}, err
	}
	whole, err := withIdentity(data, cert, encoded)
	if err != nil {
		return time.Time{}, err
	}
	return s.put(f, old, cert, whole, 0o600)
}

// put writes a file with a new certificate, unless that is no gain.
func (s Store) put(f file, old *x509.Certificate, cert, content []byte, mode fs.FileMode) (time.Time, error) {
	c, err := leaf(cert)
	if err != nil {
		return time.Time{}, err
	}
	// A certificate begins a little before now, so one that replaces a young one ends as
	// much earlier.
	if c.NotAfter.Add(backdate(life(old))).Before(old.NotAfter) {
		return time.Time{}, fmt.Errorf("a new certificate would end on %s, and this one ends on %s; the authority ends first", day(c.NotAfter), day(old.NotAfter))
	}
	return c.NotAfter, s.write(f.path, content, mode)
}

// issuer is an authority with its key on this machine; fs.ErrNotExist if the key is
// not there.
func (s Store) issuer(path string) (issuer, error) {
	for _, f := range files() {
		if f.path != path || f.kind != kindAuthority {
			continue
		}
		key, err := s.read(f.key)
		if err != nil {
			return issuer{}, err
		}
		cert, err := s.read(path)
		if err != nil {
			return issuer{}, err
		}
		i, err := newIssuer(cert, key)
		if err != nil {
			err = fmt.Errorf("read the authority %s: %w", path, err)
		}
		return i, err
	}
	return issuer{}, fmt.Errorf("%s is no authority", path)
}

// restart restarts the role that reads a file only at its start, if it runs and
// started before the file changed: also after a renewal that was killed, or one
// that the operator made. No role that is restarted here touches a container, a
// rule, or a route when it ends.
func (s Store) restart(ctx context.Context, f file) error {
	at, err := s.changed(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	unit := layout.Unit(f.role)
	out, err := s.Run(ctx, "systemctl", "show", "--timestamp=unix", "--property=ActiveState,ExecMainStartTimestamp", unit)
	if err != nil {
		return err
	}
	started, active, err := parseStart(out)
	// Dates of files and units are compared in whole seconds; a start in the same
	// second might have read the old file.
	if err != nil || !active || started.After(at) {
		return err
	}
	if err := poll.Sleep(ctx, min(time.Second, at.Add(time.Second).Sub(s.Now()))); err != nil {
		return err
	}
	if _, err := s.Run(ctx, "systemctl", "try-restart", unit); err != nil {
		return err
	}
	s.Log.Info("restarted a unit, which reads its certificate when it starts", "unit", unit, "file", f.path)
	return nil
}

// parseStart reads what systemctl prints about the start of a unit.
func parseStart(out string) (started time.Time, active bool, err error) {
	for line := range strings.Lines(out) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch {
		case name == "ActiveState":
			active = value == "active"
		case name == "ExecMainStartTimestamp" && value != "":
			seconds, err := strconv.ParseInt(strings.TrimPrefix(value, "@"), 10, 64)
			if err != nil {
				return started, active, fmt.Errorf("systemctl printed the date %q", value)
			}
			started = time.Unix(seconds, 0)
		}
	}
	return started, active, nil
}
