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
// run commands of users.
type shell struct {
	file    string
	digest  string
	applets []string // the names of its programs
}

// findShell takes busybox from the Debian package busybox-static, installed or
// downloaded with apt, and stores it in the cache, so that a later build has
// the same busybox even if the archive has a newer one.
func findShell(ctx context.Context, cacheDir string) (shell, error) {
	file := filepath.Join(cacheDir, "debian", "busybox-static", "busybox")
	if _, err := os.Stat(file); err != nil {
		if err := fetchShell(ctx, file); err != nil {
			return shell{}, &pai.Error{Code: pai.CodeFailed, Message: "get busybox from the Debian package busybox-static", Err: err,
				Next: "run: apt-get install busybox-static"}
		}
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return shell{}, fmt.Errorf("read busybox: %w", err)
	}
	list, err := exec.CommandContext(ctx, file, "--list").Output()
	if err != nil {
		return shell{}, fmt.Errorf("list the programs of %s: %w", file, err)
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
	if checkStatic(found) != nil {
		if found, err = unpackShell(ctx, work); err != nil {
			return err
		}
	}
	whole := filepath.Join(work, "whole")
	copied := atomicfile.WithoutForks(func() error { return copyFile(found, whole) })
	if err := errors.Join(checkStatic(found), copied, os.Chmod(whole, 0o755)); err != nil {
		return err
	}
	return os.Rename(whole, file)
}

// unpackShell downloads the package with apt, which verifies its signature, and
// unpacks it.
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
	return "", errors.New("busybox not found in /bin and /usr/bin of the package")
}

// checkStatic returns an error for a program that needs a loader.
func checkStatic(file string) error {
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
