package nspawn

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// The files that turn Debian into a local machine.
const (
	// sshdConfig uses the host key that is in known_hosts, and accepts only the
	// key of the operator.
	sshdConfig = `HostKey /etc/ssh/ssh_host_ed25519_key
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
ClientAliveInterval 15
ClientAliveCountMax 4
MaxStartups 100
`
	// journaldConfig keeps the kernel log of the host out of the journal.
	journaldConfig = `[Journal]
ReadKMsg=no
SystemMaxUse=200M
`
	// cgroupsUnit makes version 1 control groups writable: systemd-nspawn mounts
	// them read-only, but kubelet and runc make groups in all of them.
	cgroupsUnit = `[Unit]
Description=Writable control groups for a machine that is a container
DefaultDependencies=no
Before=sysinit.target
ConditionPathExists=!/sys/fs/cgroup/cgroup.controllers

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -euc 'while read -r what where kind rest; do case "$$kind $$where" in "cgroup /sys/fs/cgroup/"*|"cgroup2 /sys/fs/cgroup/"*) mount -o remount,bind,rw "$$where" ;; esac; done </proc/self/mounts'

[Install]
WantedBy=sysinit.target
`
	cgroupsUnitName = "pai-local-cgroups.service"
)

// quietUnits are useless without a console, a clock, or a route to other networks.
func quietUnits() []string {
	return []string{
		"apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "e2scrub_reap.service", "fstrim.timer",
		"console-getty.service", "getty.target", "systemd-timesyncd.service", "systemd-networkd.service", "systemd-resolved.service",
		"systemd-modules-load.service", "systemd-udevd.service", "systemd-udev-trigger.service",
		"systemd-udevd-control.socket", "systemd-udevd-kernel.socket",
	}
}

// hostSettings are kernel settings of Debian that a machine must not apply,
// because its kernel is that of the host.
func hostSettings() []string {
	return []string{"50-pid-max.conf", "99-protect-links.conf", "50-coredump.conf", "50-default.conf"}
}

// baseFiles is the content that all machines share, for the key of the cache.
func baseFiles() string {
	return sshdConfig + journaldConfig + cgroupsUnit + strings.Join(append(quietUnits(), hostSettings()...), " ")
}

// prepareBase turns the result of debootstrap into the root file system that
// machines are copied from.
func prepareBase(root string) error {
	keys, err := filepath.Glob(filepath.Join(root, "etc/ssh/ssh_host_*"))
	if err != nil {
		return err
	}
	for _, name := range append(keys,
		filepath.Join(root, "etc/apt/sources.list"), // has the mirror of this host
		filepath.Join(root, "etc/hostname"),
		filepath.Join(root, "etc/resolv.conf"),
		filepath.Join(root, "var/lib/dbus/machine-id"),
	) {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	// Half of all files are documents and translations.
	for _, pattern := range []string{
		"var/cache/apt/archives/*.deb", "var/lib/apt/lists/*", "debootstrap",
		"usr/share/doc/*", "usr/share/man/*", "usr/share/info/*", "usr/share/locale/*",
	} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			return err
		}
		for _, f := range found {
			if err := os.RemoveAll(f); err != nil {
				return err
			}
		}
	}
	files := map[string]string{
		"etc/ssh/sshd_config.d/pai-local.conf":       sshdConfig,
		"etc/systemd/journald.conf.d/pai-local.conf": journaldConfig,
		"etc/systemd/system/" + cgroupsUnitName:      cgroupsUnit,
		"etc/resolv.conf":                            "# No name server: names are in /etc/hosts, and a lookup fails at once.\n",
		"etc/machine-id":                             "",
	}
	for name, content := range files {
		if err := writeFile(filepath.Join(root, name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	links := map[string]string{"etc/systemd/system/sysinit.target.wants/" + cgroupsUnitName: "/etc/systemd/system/" + cgroupsUnitName}
	for _, unit := range quietUnits() {
		links["etc/systemd/system/"+unit] = "/dev/null"
	}
	for _, name := range hostSettings() {
		links["etc/sysctl.d/"+name] = "/dev/null"
	}
	for name, target := range links {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := os.Symlink(target, path); err != nil {
			return err
		}
	}
	return nil
}

// container is one local machine: a number, and the directory that holds its disk.
type container struct {
	site  site
	index int
	name  string
	dir   string
}

func (m container) root() string { return filepath.Join(m.dir, "root") }

// mark names the machine on this host: its network namespace, its control groups,
// and its systemd-nspawn.
func (m container) mark() string { return fmt.Sprintf("%s-%d", m.site.mark, m.index) }

func (m container) exists() bool {
	_, err := os.Stat(m.root())
	return err == nil
}

// create makes the root file system of the machine from the base. It appears
// complete or not at all.
func (m container) create(ctx context.Context, base string, operator ssh.PublicKey) error {
	if err := m.clear(ctx); err != nil {
		return err
	}
	if err := removeTree(ctx, m.dir); err != nil {
		return err
	}
	if err := os.MkdirAll(m.dir, 0o700); err != nil {
		return err
	}
	building := filepath.Join(m.dir, "building")
	if _, err := run(ctx, "cp", "-a", "--reflink=auto", "--", base, building); err != nil {
		return err
	}
	id := make([]byte, 16)
	rand.Read(id)
	private, public, err := newKeyPair(m.name)
	if err != nil {
		return err
	}
	for _, f := range []struct {
		name, content string
		mode          os.FileMode
	}{
		{"etc/hostname", m.name + "\n", 0o644},
		{"etc/machine-id", hex.EncodeToString(id) + "\n", 0o444},
		{"etc/ssh/ssh_host_ed25519_key", string(private), 0o600},
		{"etc/ssh/ssh_host_ed25519_key.pub", string(ssh.MarshalAuthorizedKey(public)), 0o644},
		{"root/.ssh/authorized_keys", string(ssh.MarshalAuthorizedKey(operator)), 0o600},
	} {
		if err := writeFile(filepath.Join(building, f.name), []byte(f.content), f.mode); err != nil {
			return err
		}
	}
	if err := os.Chmod(filepath.Join(building, "root/.ssh"), 0o700); err != nil {
		return err
	}
	return os.Rename(building, m.root())
}

// The lines of /etc/hosts between these markers belong to PAI.
const (
	hostsBegin = "# local machines: begin"
	hostsEnd   = "# local machines: end"
)

// writeHosts writes the names of all machines to /etc/hosts of the machine.
func (m container) writeHosts(n network, all []container) error {
	path := filepath.Join(m.root(), "etc/hosts")
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n", hostsBegin)
	for _, peer := range all {
		fmt.Fprintf(&b, "%s %s\n", n.address(peer.index), peer.name)
	}
	fmt.Fprintf(&b, "%s\n", hostsEnd)
	next := replaceBlock(string(old), b.String())
	if next == string(old) {
		return nil
	}
	return writeFile(path, []byte(next), 0o644)
}

// replaceBlock replaces the block in old, or puts it in front.
func replaceBlock(old, block string) string {
	before, rest, found := strings.Cut(old, hostsBegin+"\n")
	if !found {
		return block + old
	}
	_, after, found := strings.Cut(rest, hostsEnd+"\n")
	if !found {
		after = ""
	}
	return before + block + after
}

// writeKnownHosts writes the host keys of the machines for ssh.
func (s site) writeKnownHosts(n network, all []container) error {
	var b strings.Builder
	for _, m := range all {
		data, err := os.ReadFile(filepath.Join(m.root(), "etc/ssh/ssh_host_ed25519_key.pub"))
		if err != nil {
			return fmt.Errorf("read the host key of machine %q: %w", m.name, err)
		}
		key, _, _, _, err := ssh.ParseAuthorizedKey(data)
		if err != nil {
			return fmt.Errorf("read the host key of machine %q: %w", m.name, err)
		}
		b.WriteString(knownhosts.Line([]string{n.address(m.index).String()}, key) + "\n")
	}
	if err := writeFile(s.knownHosts(), []byte(b.String()), 0o644); err != nil {
		return fmt.Errorf("write the host keys of the local machines: %w", err)
	}
	return nil
}
