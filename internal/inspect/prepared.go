package inspect

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"syscall"

	"pai.dev/pai/internal/certs"
	"pai.dev/pai/internal/fingerprint"
	"pai.dev/pai/internal/hostsfile"
	"pai.dev/pai/internal/layout"
)

// prepared reports what the preparation of the machine left.
func (i *inspection) prepared(ctx context.Context) error {
	names, err := i.unitFiles()
	if err != nil {
		return err
	}
	own := []string{layout.PrepareUnit, layout.ShutdownUnit, layout.CertificatesUnit}
	for _, r := range layout.Roles() {
		if unit := layout.Unit(r); slices.Contains(names, unit) {
			own = append(own, unit)
		}
	}
	units, err := i.units(ctx, own...)
	if err != nil {
		return err
	}
	p := Preparation{PrepareActive: units[layout.PrepareUnit].active(), ShutdownActive: units[layout.ShutdownUnit].active(),
		CertificatesActive: units[layout.CertificatesUnit].active(), Files: map[string]string{}}
	for _, unit := range own {
		if units[unit].needsReload {
			p.NeedsReload = append(p.NeedsReload, unit)
		}
	}
	if p.CertificatesOutdated, err = i.runsOther(layout.CertificatesUnit, units[layout.CertificatesUnit].pid); err != nil {
		return err
	}
	if p.Joined, err = i.joined(); err != nil {
		return err
	}
	identity, err := i.read(layout.KubeletClientCertificate)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	p.IdentityEnded = certs.Ended(identity, i.now())
	p.Joined = p.Joined && !p.IdentityEnded
	paths := []string{layout.PrepareScript, layout.ShutdownScript, layout.CertificatesFile, layout.AuthenticationFile}
	for _, name := range names {
		paths = append(paths, layout.UnitsDir+"/"+name)
	}
	for _, file := range paths {
		data, err := i.read(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		i.problem(err, string(Prepared), file)
		if err == nil {
			p.Files[file] = fingerprint.Of(data)
		}
	}
	hosts, err := i.read(layout.HostsFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		i.problem(err, string(Prepared), layout.HostsFile)
	}
	if lines := hostsfile.Own(hosts); len(lines) > 0 {
		p.Hosts = fingerprint.Of(lines)
	}
	i.report.Prepared = &p
	return nil
}

// runsOther reports whether the main process of a unit runs the helper of another paictl
// than the file of the unit names: it was started before the file changed.
func (i *inspection) runsOther(unit string, pid int) (bool, error) {
	if pid == 0 {
		return false, nil
	}
	file, err := i.read(layout.UnitsDir + "/" + unit)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	program, err := i.readlink(i.at(fmt.Sprintf("/proc/%d/exe", pid)))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) { // it has ended
		return false, nil
	}
	if err != nil {
		return false, err
	}
	own := strings.HasPrefix(program, layout.HelperDir+"/") // until it runs its program, it is a copy of systemd
	helper := path.Base(path.Dir(program))                  // of a file that is deleted, too
	return own && !strings.Contains(string(file), "/"+helper+"/"), nil
}

// joined reports whether the kubelet has its identity, and a certificate to serve with.
func (i *inspection) joined() (bool, error) {
	for _, file := range []string{layout.KubeletConf, layout.KubeletClientCertificate, layout.KubeletServingCertificate} {
		if found, err := i.exists(file); err != nil || !found {
			return false, err
		}
	}
	return true, nil
}
