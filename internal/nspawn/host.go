package nspawn

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"pai.dev/pai/internal/atomicfile"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
)

// hostPackages are the Debian packages that local machines need on the host,
// each with files that show that it is installed.
func hostPackages() map[string][]string {
	return map[string][]string{
		"debootstrap":            {"/usr/sbin/debootstrap"},
		"debian-archive-keyring": {"/usr/share/keyrings/debian-archive-keyring.gpg"},
		"systemd-container":      {"/usr/bin/systemd-nspawn"},
		"iproute2":               {"/usr/sbin/ip", "/sbin/ip", "/usr/bin/ip", "/bin/ip"},
	}
}

// MissingPackages returns the Debian packages that local machines need and that
// this host lacks, sorted by name.
func MissingPackages() []string {
	var missing []string
	known := hostPackages()
	for _, name := range slices.Sorted(maps.Keys(known)) {
		if !anyExists(known[name]...) {
			missing = append(missing, name)
		}
	}
	return missing
}

func anyExists(paths ...string) bool {
	for _, p := range paths {
		if _, err := os.Stat(p); err == nil {
			return true
		}
	}
	return false
}

// usable returns an error if this host cannot have local machines.
func (l Local) usable() error {
	if missing := MissingPackages(); len(missing) > 0 {
		return pai.Errorf(pai.CodeRefused, "install the packages; run: apt-get install --no-install-recommends "+strings.Join(missing, " "),
			"missing Debian packages on this host: %s", strings.Join(missing, ", "))
	}
	if os.Getuid() != 0 {
		return pai.Errorf(pai.CodeRefused, "run the command as root", "local machines need root, for their mounts, networks, and control groups")
	}
	return nil
}

// hostLimits are kernel limits that all machines share, with the values that a
// few machines with Kubernetes need: each program that watches files takes an
// inotify instance.
func hostLimits() map[string]int {
	return map[string]int{
		"fs/inotify/max_user_instances": 8192,
		"fs/inotify/max_user_watches":   524288,
	}
}

// raiseLimits raises the limits that are too low, until the host reboots.
func (l Local) raiseLimits() error {
	for name, need := range hostLimits() {
		path := filepath.Join("/proc/sys", name)
		data, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("read a limit of this host: %w", err)
		}
		have, err := strconv.Atoi(strings.TrimSpace(string(data)))
		if err != nil {
			return fmt.Errorf("read %s: %w", path, err)
		}
		if have >= need {
			continue
		}
		l.progress("raising %s of this host from %d to %d, until the next reboot", strings.ReplaceAll(name, "/", "."), have, need)
		if err := os.WriteFile(path, []byte(strconv.Itoa(need)), 0o644); err != nil {
			return fmt.Errorf("raise a limit of this host: %w", err)
		}
	}
	return nil
}

// stopGrace is the time between SIGTERM and SIGKILL.
const stopGrace = 5 * time.Second

// run runs a program on the host and returns its standard output.
func run(ctx context.Context, name string, args ...string) (string, error) {
	return runIn(ctx, nil, name, args...)
}

// runIn runs a program with more environment. When ctx ends, the program and its
// children are stopped.
func runIn(ctx context.Context, env []string, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	cmd.Env = append(cmd.Env, env...)
	if cmd.Err != nil { // PATH might lack the system directories
		if path := findProgram(name); path != "" {
			cmd.Path, cmd.Err = path, nil
		}
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error {
		time.AfterFunc(stopGrace, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
		return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
	}
	cmd.WaitDelay = 2 * stopGrace
	var out, problem bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problem
	err := cmd.Run()
	if ctx.Err() != nil {
		return "", fmt.Errorf("%s: %w", name, ctx.Err())
	}
	if err != nil {
		return out.String(), fmt.Errorf("%s: %w: %s", strings.Join(append([]string{name}, args[:min(len(args), 4)]...), " "), err,
			strings.TrimSpace(machine.Tail(out.String(), 1<<10)+machine.Tail(problem.String(), 3<<10)))
	}
	return out.String(), nil
}

func findProgram(name string) string {
	for _, dir := range []string{"/usr/sbin", "/sbin", "/usr/bin", "/bin"} {
		if path := filepath.Join(dir, name); anyExists(path) {
			return path
		}
	}
	return ""
}

// removeTree removes a directory after unmounting everything in it.
func removeTree(ctx context.Context, dir string) error {
	if _, err := os.Lstat(dir); os.IsNotExist(err) {
		return nil
	}
	mounts, err := mountsUnder(dir)
	if err != nil {
		return err
	}
	for _, m := range mounts {
		if err := unix.Unmount(m, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
			return fmt.Errorf("unmount %q: %w", m, err)
		}
	}
	if _, err := run(ctx, "rm", "-rf", "--one-file-system", "--", dir); err != nil {
		return fmt.Errorf("remove the directory %q: %w", dir, err)
	}
	return nil
}

// mountsUnder lists the mount points in a directory, latest first.
func mountsUnder(dir string) ([]string, error) {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("list the mounts: %w", err)
	}
	var found []string
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		if len(fields) < 5 {
			continue
		}
		point := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\134`, `\`).Replace(fields[4])
		if strings.HasPrefix(point, dir+"/") || point == dir {
			found = append([]string{point}, found...)
		}
	}
	return found, nil
}

// writeFile replaces a file, which can be a program, and makes its directory.
func writeFile(path string, data []byte, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return atomicfile.WriteProgram(path, data, mode)
}
