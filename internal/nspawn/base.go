package nspawn

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"pai.dev/pai/internal/filelock"
	"pai.dev/pai/internal/pai"
)

// basePackages are the Debian packages of a machine besides the minimal base: a
// server with sshd, and what the kubelet, its network plugins, and runc use.
func basePackages() []string {
	return []string{
		"systemd", "systemd-sysv", "dbus", "openssh-server",
		"iproute2", "iptables", "nftables", "conntrack", "ethtool", "socat", "kmod",
		"ca-certificates", "curl", "procps", "libseccomp2", "netbase", "zstd",
	}
}

// baseFormat changes when prepareBase does.
const baseFormat = "3"

// base returns the root file system that machines are copied from. It makes one
// if the cache has none.
func (l Local) base(ctx context.Context) (string, error) {
	suite, err := hostSuite()
	if err != nil {
		return "", err
	}
	cache, err := filepath.Abs(filepath.Join(l.CacheDir, "base"))
	if err != nil {
		return "", fmt.Errorf("find the cache directory: %w", err)
	}
	content := baseFormat + " " + suite + " " + strings.Join(basePackages(), " ") + "\n" + baseFiles()
	sum := sha256.Sum256([]byte(content))
	dir := filepath.Join(cache, hex.EncodeToString(sum[:8]))
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	unlock, err := filelock.Lock(ctx, filepath.Join(cache, "lock"), func() {
		l.progress("waiting: another paictl is creating the root file system of machines")
	})
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	l.progress("creating the root file system of machines from Debian packages (about a minute, once)")
	if err := makeBase(ctx, suite, dir); err != nil {
		return "", fmt.Errorf("create the root file system of machines: %w", err)
	}
	return dir, nil
}

// makeBase makes a root file system beside dir and renames it when it is
// complete. The caller holds the lock of the cache.
func makeBase(ctx context.Context, suite, dir string) error {
	mirror, env, err := aptMirror(ctx, suite)
	if err != nil {
		return err
	}
	building := filepath.Join(filepath.Dir(dir), "building")
	if err := removeTree(ctx, building); err != nil {
		return err
	}
	if err := os.Mkdir(building, 0o755); err != nil {
		return err
	}
	// The mounts of debootstrap are in a separate namespace, so they end with
	// it. dpkg does not sync each file: all are synced at the end.
	_, err = runIn(ctx, append(env, "DPKG_FORCE=unsafe-io"), "unshare", "--mount", "--propagation", "private", "--",
		"debootstrap", "--variant=minbase", "--include="+strings.Join(basePackages(), ","), suite, building, mirror)
	if err != nil {
		return pai.Errorf(pai.CodeFailed, "check that apt-get update works, because machines use the mirror of apt; the complete log is in "+building+"/debootstrap/debootstrap.log",
			"install Debian %s: %w", suite, err)
	}
	if err := prepareBase(building); err != nil {
		return err
	}
	if _, err := run(ctx, "sync", "--file-system", building); err != nil {
		return err
	}
	return os.Rename(building, dir)
}

// hostSuite is the Debian release of this host. Machines run the same release,
// so that programs built on this host run on them.
func hostSuite() (string, error) {
	data, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return "", fmt.Errorf("read the release of this host: %w", err)
	}
	release := map[string]string{}
	for line := range strings.Lines(string(data)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			release[key] = strings.Trim(value, `"'`)
		}
	}
	if release["ID"] != "debian" || release["VERSION_CODENAME"] == "" {
		return "", pai.Errorf(pai.CodeRefused, "use a Debian host, or other machines; run: paictl config generate",
			"local machines need a Debian host, this host runs %q", release["PRETTY_NAME"])
	}
	return release["VERSION_CODENAME"], nil
}

// aptMirror returns the mirror that apt uses for the suite on this host, and the
// environment with the proxy of apt.
func aptMirror(ctx context.Context, suite string) (mirror string, env []string, err error) {
	out, err := run(ctx, "apt-get", "indextargets", "--format", "$(CREATED_BY)|$(RELEASE)|$(COMPONENT)|$(REPO_URI)")
	if err != nil {
		return "", nil, fmt.Errorf("ask apt for its mirror: %w", err)
	}
	for line := range strings.Lines(out) {
		f := strings.Split(strings.TrimSpace(line), "|")
		if len(f) == 4 && f[0] == "Packages" && f[1] == suite && f[2] == "main" {
			mirror = f[3]
			break
		}
	}
	if mirror == "" {
		return "", nil, pai.Errorf(pai.CodeRefused, "add a source to /etc/apt/sources.list; run: apt-get update",
			"apt on this host has no source for Debian %s main", suite)
	}
	u, err := url.Parse(mirror)
	if err != nil {
		return "", nil, fmt.Errorf("read the address of the apt mirror: %w", err)
	}
	proxy, err := run(ctx, "apt-config", "shell", "proxy", "Acquire::"+u.Scheme+"::Proxy")
	if err != nil {
		return "", nil, fmt.Errorf("ask apt for its proxy: %w", err)
	}
	if _, value, ok := strings.Cut(strings.TrimSpace(proxy), "="); ok {
		if value = strings.Trim(value, "'"); value != "" && value != "DIRECT" {
			env = append(env, u.Scheme+"_proxy="+value)
		}
	}
	return mirror, env, nil
}
