package machine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"

	"pai.dev/pai/internal/pai"
)

// knownIn is the first source that has a host key of a machine: the file of the
// endpoint, then the files of the operator.
type knownIn struct {
	db    *knownhosts.HostKeyDB
	name  string // of the machine there, with its port
	files []string
}

func findKnown(t Endpoint) (*knownIn, error) {
	sources := []knownIn{{name: t.HostPort(), files: []string{t.KnownHosts}}, {name: t.HostPort(), files: t.operator.knownHosts}}
	if alias := t.operator.hostKeyAlias; alias != "" {
		sources[1].name = net.JoinHostPort(alias, "22") // an alias has no port
	}
	for _, s := range sources {
		s.files = slices.DeleteFunc(slices.Clone(s.files), func(file string) bool {
			_, err := os.Stat(file)
			return file == "" || errors.Is(err, fs.ErrNotExist)
		})
		if len(s.files) == 0 {
			continue
		}
		var err error
		if s.db, err = knownhosts.NewDB(s.files...); err != nil {
			return nil, fmt.Errorf("read the known hosts file %s: %w", strings.Join(s.files, ", "), err)
		}
		if len(s.db.HostKeys(s.name)) > 0 {
			return &s, nil
		}
	}
	return nil, nil //nolint:nilnil // no key and no error
}

// hostKeys returns the check of the host key, and the key algorithms that are known
// for the machine. With another algorithm, the machine would present a key that is
// not known.
func hostKeys(t Endpoint) (ssh.HostKeyCallback, []string, error) {
	known, err := findKnown(t)
	if err != nil {
		return nil, nil, err
	}
	if known == nil {
		return nil, nil, unknownHost(t)
	}
	algorithms := slices.DeleteFunc(known.db.HostKeyAlgorithms(known.name), func(name string) bool { return name == ssh.KeyAlgoRSA }) // signs with SHA-1
	check := known.db.HostKeyCallback()
	return func(_ string, remote net.Addr, key ssh.PublicKey) error {
		err := check(known.name, remote, key)
		if knownhosts.IsHostKeyChanged(err) {
			return changedKey(t, err, key)
		}
		if err != nil {
			return fmt.Errorf("check the host key of machine %q: %w", t.Name, err)
		}
		return nil
	}, algorithms, nil
}

// ErrUnknownHostKey is in the chain of the error for a machine without a known key.
var ErrUnknownHostKey = errors.New("the host key is not known")

func unknownHost(t Endpoint) error {
	return &pai.Error{Code: pai.CodeFailed, Err: ErrUnknownHostKey,
		Next: fmt.Sprintf("add the key; run: ssh-keyscan -p %d %s >> %s\nthen compare its fingerprint (ssh-keygen -lf %s) with the fingerprint on the console of the machine (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub)",
			t.Port, t.Address, t.KnownHosts, t.KnownHosts),
		Message: fmt.Sprintf("the host key of machine %q (%s) is not in %s", t.Name, t.HostPort(), t.KnownHosts)}
}

func changedKey(t Endpoint, err error, got ssh.PublicKey) error {
	file, line := t.KnownHosts, 0
	if mismatch := new(xknownhosts.KeyError); errors.As(err, &mismatch) && len(mismatch.Want) > 0 {
		file, line = mismatch.Want[0].Filename, mismatch.Want[0].Line
	}
	return pai.Errorf(pai.CodeFailed,
		fmt.Sprintf("if the machine was reinstalled, replace line %d of %s with its new key; otherwise stop: another host responds at its address", line, file),
		"the host key of machine %q (%s) has changed to %s %s", t.Name, t.HostPort(), got.Type(), ssh.FingerprintSHA256(got))
}

// HostKey is a host key of a machine.
type HostKey struct {
	Type        string
	Fingerprint string // SHA256:…
	Line        string // of a known_hosts file
}

// KnownHostKeys returns the host keys that are known for a machine; none if it is
// unknown.
func KnownHostKeys(ctx context.Context, t Endpoint) ([]HostKey, error) {
	t, err := t.resolved(ctx)
	if err != nil {
		return nil, err
	}
	known, err := findKnown(t)
	if known == nil || err != nil {
		return nil, err
	}
	var keys []HostKey
	for _, key := range known.db.HostKeys(known.name) {
		keys = append(keys, hostKeyOf(t, key))
	}
	return keys, nil
}

// PresentedHostKey asks a machine for its host key. That it is the key of the
// machine is not verified.
func PresentedHostKey(ctx context.Context, t Endpoint) (HostKey, error) {
	t, err := t.resolved(ctx)
	if err != nil {
		return HostKey{}, err
	}
	login, err := authentication(ctx, t) // a login that cannot work is no reason to ask about keys
	if err != nil {
		return HostKey{}, err
	}
	login.done()
	var key ssh.PublicKey
	errSeen := errors.New("the key is known now")
	_, err = handshake(ctx, t, &ssh.ClientConfig{
		User:              t.User,
		HostKeyAlgorithms: []string{ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256},
		HostKeyCallback: func(_ string, _ net.Addr, presented ssh.PublicKey) error {
			key = presented
			return errSeen
		},
	})
	if key == nil {
		return HostKey{}, err
	}
	return hostKeyOf(t, key), nil
}

func hostKeyOf(t Endpoint, key ssh.PublicKey) HostKey {
	return HostKey{Type: key.Type(), Fingerprint: ssh.FingerprintSHA256(key),
		Line: xknownhosts.Line([]string{xknownhosts.Normalize(t.HostPort())}, key)}
}
