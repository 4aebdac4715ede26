package nspawn

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"pai.dev/pai/internal/poll"
)

// The processes of a machine are the processes of its control group, which is
// named after it. All of them start in the group, so no PIDs are recorded.

// supervisor moves itself into the control groups of the machine (the arguments
// up to --) and reports that on file descriptor 3. It then runs systemd-nspawn
// (the rest), again after each reboot, for which the exit code is 133.
const supervisor = `
while [ "$1" != -- ]; do
    echo 0 >"$1/cgroup.procs"
    shift
done
shift
echo ready >&3
exec 3>&-
while :; do
    code=0
    "$@" || code=$?
    [ "$code" -eq 133 ] || exit "$code"
done
`

// boot starts the machine, detached from this process. When it returns, processes
// lists the processes of the machine.
func (m container) boot() error {
	groups, err := m.makeGroups()
	if err != nil {
		return err
	}
	log, err := os.OpenFile(m.console(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open the console log: %w", err)
	}
	defer log.Close()
	ready, report, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("create a pipe: %w", err)
	}
	defer ready.Close()
	defer report.Close()
	args := append([]string{"-euc", supervisor, m.mark()}, groups...)
	args = append(append(args, "--"), m.nspawn()...)
	cmd := exec.Command("sh", args...) //nolint:noctx // the machine outlives this process
	cmd.Env = append(os.Environ(), "SYSTEMD_NSPAWN_API_VFS_WRITABLE=1", "LC_ALL=C")
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{report}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := closeInheritedOnExec(); err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start systemd-nspawn: %w", err)
	}
	go func() { _ = cmd.Wait() }() // leaves no zombie; the log has the reason
	report.Close()
	if n, _ := ready.Read(make([]byte, 1)); n == 0 {
		return fmt.Errorf("systemd-nspawn was not started: %s", m.consoleTail())
	}
	return nil
}

func (m container) console() string { return filepath.Join(m.dir, "console.log") }

// nspawn is the command that boots the machine, with everything that kubelet,
// containerd, and runc need (systemd-nspawn(1)).
func (m container) nspawn() []string {
	args := []string{
		findProgram("systemd-nspawn"), "--quiet", "--boot",
		"--directory=" + m.root(),
		"--machine=" + m.mark(), "--hostname=" + m.name,
		"--register=no", "--keep-unit", // do not use the systemd of the host
		"--network-namespace-path=/run/netns/" + m.mark(),
		"--resolv-conf=off", "--timezone=off", "--link-journal=no", "--console=read-only",
		"--capability=all",
		// runc creates a session key for each container, which needs @keyring.
		"--system-call-filter=@keyring bpf @mount @module @raw-io @reboot @swap @cpu-emulation @debug @obsolete perf_event_open",
	}
	for _, device := range []string{"/dev/kmsg", "/dev/fuse"} {
		if anyExists(device) {
			args = append(args, "--bind="+device)
		}
	}
	if anyExists("/lib/modules") {
		args = append(args, "--bind-ro=/lib/modules")
	}
	return args
}

func (m container) running() bool { return m.leader() != 0 }

// leader is the PID of the init process of the machine on the host; 0 if it does
// not run.
func (m container) leader() int {
	for _, pid := range m.processes() {
		if programOf(pid) != "systemd-nspawn" {
			continue
		}
		for _, child := range childrenOf(pid) {
			if programOf(child) == "systemd" {
				return child
			}
		}
	}
	return 0
}

// clear kills all processes of the machine and removes what they leave on the
// host: control groups, network, runtime files. The disk stays.
func (m container) clear(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	wait := poll.Wait{For: "the end of its processes", Every: 20 * time.Millisecond}
	if err := wait.Until(ctx, m.kill); err != nil {
		return err
	}
	if err := m.removeGroups(ctx); err != nil {
		return err
	}
	if err := m.site.detachNetwork(ctx, m); err != nil {
		return err
	}
	for _, dir := range []string{"propagate", "unix-export"} {
		if err := removeTree(ctx, filepath.Join("/run/systemd/nspawn", dir, m.mark())); err != nil {
			return err
		}
	}
	for _, lock := range m.imageLocks() {
		if err := os.Remove(lock); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// kill sends SIGKILL to all processes, and reports whether none is left.
func (m container) kill(context.Context) (bool, error) {
	pids := m.processes()
	// The supervisor and systemd-nspawn are the first two. With the init process
	// of the machine, the kernel kills all others.
	for _, pid := range pids {
		if err := signalProcess(pid, syscall.SIGKILL, m.owns); err != nil {
			return false, poll.Final(err)
		}
	}
	if len(pids) > 0 {
		return false, fmt.Errorf("%d processes run, the first is %d", len(pids), pids[0])
	}
	return true, nil
}

// imageLocks are the lock files that systemd-nspawn leaves when it is killed. They
// prevent a second boot of the same disk: one is beside the directory, one is
// named after the inode of the directory (image_path_lock in systemd,
// src/shared/discover-image.c).
func (m container) imageLocks() []string {
	locks := []string{filepath.Join(m.dir, ".#root.lck")}
	var stat unix.Stat_t
	if err := unix.Stat(m.root(), &stat); err == nil {
		locks = append(locks, fmt.Sprintf("/run/systemd/nspawn/locks/inode-%d:%d", stat.Dev, stat.Ino))
	}
	return locks
}

// signalProcess sends a signal to a process if it belongs to the machine. The
// check follows FindProcess, whose handle stays with the process when its PID
// is used again.
func signalProcess(pid int, signal syscall.Signal, owns func(pid int) bool) error {
	process, err := os.FindProcess(pid)
	if err != nil {
		return fmt.Errorf("find process %d: %w", pid, err)
	}
	defer func() { _ = process.Release() }()
	if !owns(pid) {
		return nil
	}
	if err := process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal process %d: %w", pid, err)
	}
	return nil
}

func programOf(pid int) string {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

func childrenOf(pid int) []int {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", pid))
	if err != nil {
		return nil
	}
	return numbers(string(data))
}

func numbers(text string) []int {
	var all []int
	for _, field := range strings.Fields(text) {
		if n, err := strconv.Atoi(field); err == nil {
			all = append(all, n)
		}
	}
	return all
}
