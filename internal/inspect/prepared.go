package inspect

import (
	"bytes"
	"context"
	"errors"
	"io/fs"

	"pai.dev/pai/internal/certs"
	"pai.dev/pai/internal/fingerprint"
	"pai.dev/pai/internal/layout"
)

// prepared reports what the preparation of the machine left.
func (i *inspection) prepared(ctx context.Context) error {
	units, err := i.units(ctx, layout.PrepareUnit, layout.ShutdownUnit, layout.CertificatesUnit)
	if err != nil {
		return err
	}
	p := Preparation{PrepareActive: units[layout.PrepareUnit].active(), ShutdownActive: units[layout.ShutdownUnit].active(),
		CertificatesActive: units[layout.CertificatesUnit].active(), Files: map[string]string{}}
	if p.Joined, err = i.joined(); err != nil {
		return err
	}
	identity, err := i.read(layout.KubeletClientCertificate)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	p.IdentityEnded = certs.Ended(identity, i.now())
	p.Joined = p.Joined && !p.IdentityEnded
	names, err := i.unitFiles()
	if err != nil {
		return err
	}
	paths := []string{layout.PrepareScript, layout.ShutdownScript, layout.CertificatesFile, layout.AuthenticationFile}
	for _, name := range names {
		paths = append(paths, layout.UnitsDir+"/"+name)
	}
	for _, path := range paths {
		data, err := i.read(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		i.problem(err, string(Prepared), path)
		if err == nil {
			p.Files[path] = fingerprint.Of(data)
		}
	}
	hosts, err := i.read(layout.HostsFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		i.problem(err, string(Prepared), layout.HostsFile)
	}
	if own := ownLines(hosts); len(own) > 0 {
		p.Hosts = fingerprint.Of(own)
	}
	i.report.Prepared = &p
	return nil
}

// ownLines are the lines of PAI in /etc/hosts.
func ownLines(hosts []byte) []byte {
	var own []byte
	for line := range bytes.Lines(hosts) {
		if line = bytes.TrimSuffix(line, []byte("\n")); bytes.HasSuffix(line, []byte(layout.HostsMark)) {
			own = append(append(own, line...), '\n')
		}
	}
	return own
}

// joined reports whether the kubelet has its identity, and a certificate to serve with.
func (i *inspection) joined() (bool, error) {
	for _, path := range []string{layout.KubeletConf, layout.KubeletClientCertificate, layout.KubeletServingCertificate} {
		if found, err := i.exists(path); err != nil || !found {
			return false, err
		}
	}
	return true, nil
}
