package release

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"pai.dev/pai/internal/atomicfile"
	"pai.dev/pai/internal/pai"
)

// shell is a static busybox: the shell and the small programs of images that
// run their users' commands.
type shell struct {
	file    string
	digest  string
	applets []string // the names that it goes by
}

// findShell takes busybox from Debian's package busybox-static, where it is
// installed or else from apt's archive, and keeps it in the cache: a bundle
// that is built again is the same although the archive has moved on.
func findShell(ctx context.Context, cacheDir string) (shell, error) {
	file := filepath.Join(cacheDir, "debian", "busybox-static", "busybox")
	if _, err := os.Stat(file); err != nil {
		if err := fetchShell(ctx, file); err != nil {
			return shell{}, &pai.Error{Code: pai.CodeFailed, Message: "take busybox from Debian's package busybox-static", Err: err,
				Next: "apt-get install busybox-static"}
		}
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return shell{}, fmt.Errorf("read busybox: %w", err)
	}
	list, err := exec.CommandContext(ctx, file, "--list").Output()
	if err != nil {
		return shell{}, fmt.Errorf("ask %s for its names: %w", file, err)
	}
	s := shell{file: file, digest: digestOf(data)}
	for _, name := range strings.Fields(string(list)) {
		if name != "busybox" {
			s.applets = append(s.applets, name)
		}
	}
	return s, nil
}

func fetchShell(ctx context.Context, file string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	work, err := os.MkdirTemp(filepath.Dir(file), ".fetch-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	found := "/bin/busybox"
	if static(found) != nil {
		if found, err = unpackShell(ctx, work); err != nil {
			return err
		}
	}
	whole := filepath.Join(work, "whole")
	copied := atomicfile.WithoutForks(func() error { return copyFile(found, whole) })
	if err := errors.Join(static(found), copied, os.Chmod(whole, 0o755)); err != nil {
		return err
	}
	return os.Rename(whole, file)
}

// unpackShell downloads the package with apt, which checks its signature, and
// unpacks it without installing it.
func unpackShell(ctx context.Context, work string) (string, error) {
	for _, line := range []string{"apt-get download busybox-static", "dpkg -x busybox-static_*.deb root"} {
		cmd := exec.CommandContext(ctx, "sh", "-c", line)
		cmd.Dir = work
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("%s: %w\n%s", line, err, tail(string(out)))
		}
	}
	for _, p := range []string{"root/bin/busybox", "root/usr/bin/busybox"} {
		if _, err := os.Stat(filepath.Join(work, p)); err == nil {
			return filepath.Join(work, p), nil
		}
	}
	return "", errors.New("the package has no busybox in /bin or /usr/bin")
}

// static is nil for a program that needs no loader.
func static(file string) error {
	f, err := elf.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return fmt.Errorf("%s is not a static program", file)
		}
	}
	return nil
}
