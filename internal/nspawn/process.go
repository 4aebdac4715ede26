package nspawn

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A machine's processes are those in its control group. Every one of them,
// from the first, is born in it, and the group's name says whose it is: no
// list of process numbers has to be remembered, or could be wrong.

// supervisor puts itself into the machine's control groups (the arguments up
// to --), says so on file descriptor 3, and then runs systemd-nspawn (the
// rest), again after each reboot of the machine, which systemd-nspawn reports
// by code 133.
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

// boot starts the machine, detached from this process. When it returns, the
// machine's processes can be found.
func (m container) boot() error {
	groups, err := m.makeGroups()
	if err != nil {
		return err
	}
	log, err := os.OpenFile(m.console(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open the machine's console log: %w", err)
	}
	defer log.Close()
	ready, tell, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("make a pipe: %w", err)
	}
	defer ready.Close()
	defer tell.Close()
	args := append([]string{"-euc", supervisor, m.mark()}, groups...)
	args = append(append(args, "--"), m.nspawn()...)
	cmd := exec.Command("sh", args...)
	cmd.Env = append(os.Environ(), "SYSTEMD_NSPAWN_API_VFS_WRITABLE=1", "LC_ALL=C")
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{tell}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := keepInherited(); err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start systemd-nspawn: %w", err)
	}
	go func() { _ = cmd.Wait() }() // no zombie while we live; why it ended is in the log
	tell.Close()
	if n, _ := ready.Read(make([]byte, 1)); n == 0 {
		return fmt.Errorf("systemd-nspawn was not started: %s", m.consoleTail())
	}
	return nil
}

func (m container) console() string { return filepath.Join(m.dir, "console.log") }

// nspawn is the command that boots the machine, with all that kubelet,
// containerd and runc need of a machine (systemd-nspawn(1)).
func (m container) nspawn() []string {
	args := []string{
		findProgram("systemd-nspawn"), "--quiet", "--boot",
		"--directory=" + m.root(),
		"--machine=" + m.mark(), "--hostname=" + m.name,
		"--register=no", "--keep-unit", // the host's systemd, if it has one, is not asked
		"--network-namespace-path=/run/netns/" + m.mark(),
		"--resolv-conf=off", "--timezone=off", "--link-journal=no", "--console=read-only",
		"--capability=all",
		// runc makes a session key for each container; without @keyring it cannot.
		"--system-call-filter=@keyring bpf @mount @module @raw-io @reboot @swap @cpu-emulation @debug @obsolete perf_event_open",
	}
	for _, device := range []string{"/dev/kmsg", "/dev/fuse"} {
		if anyExists([]string{device}) {
			args = append(args, "--bind="+device)
		}
	}
	if anyExists([]string{"/lib/modules"}) {
		args = append(args, "--bind-ro=/lib/modules")
	}
	return args
}

// running reports whether the machine's own process 1 is there.
func (m container) running() bool { return m.leader() != 0 }

// leader is the machine's own process 1, by its number on the host.
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

// clear ends all processes of the machine, at once, and removes what they
// leave on the host: control groups, network, runtime files. The disk stays.
func (m container) clear(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		pids := m.processes()
		if len(pids) == 0 {
			break
		}
		// The supervisor and systemd-nspawn are the first two; with the
		// machine's process 1 the kernel ends all the others.
		for _, pid := range pids {
			if err := signalProcess(pid, syscall.SIGKILL, m.owns); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d processes do not end, the first is %d: %w", len(pids), pids[0], ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
	if err := m.removeGroups(ctx); err != nil {
		return err
	}
	if err := m.site.unplug(ctx, m); err != nil {
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

// imageLocks are the files by which systemd-nspawn keeps a second one from
// booting the same disk, and which it leaves when it is killed: one beside
// the folder, one by the folder's inode (image_path_lock in systemd's
// src/shared/discover-image.c).
func (m container) imageLocks() []string {
	locks := []string{filepath.Join(m.dir, ".#root.lck")}
	var stat unix.Stat_t
	if err := unix.Stat(m.root(), &stat); err == nil {
		locks = append(locks, fmt.Sprintf("/run/systemd/nspawn/locks/inode-%d:%d", stat.Dev, stat.Ino))
	}
	return locks
}

// signalProcess sends a signal to a process, if it is still ours.
func signalProcess(pid int, signal syscall.Signal, ours func(pid int) bool) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open process %d: %w", pid, err)
	}
	defer func() { _ = unix.Close(fd) }() // was only read
	if !ours(pid) {                       // the number may have passed on to another process before the open
		return nil
	}
	if err := unix.PidfdSendSignal(fd, signal, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
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

// remains are the machines of which anything is left on this host, be it only
// a control group or a network namespace.
func (s site) remains() ([]container, error) {
	all, err := s.folders()
	if err != nil {
		return nil, err
	}
	patterns := []string{"/run/netns/" + s.mark + "-*", "/run/systemd/nspawn/*/" + s.mark + "-*"}
	for _, h := range hierarchies() {
		patterns = append(patterns, filepath.Join(h, s.mark+"-*"))
	}
	for _, p := range patterns {
		found, err := filepath.Glob(p)
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			i, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(f), s.mark+"-"))
			if err == nil && i > 0 && !slices.ContainsFunc(all, func(m container) bool { return m.index == i }) {
				all = append(all, s.container(i))
			}
		}
	}
	return all, nil
}

// hasRemains reports whether anything on this host outside the state folder
// belongs to the site.
func (s site) hasRemains() bool {
	all, err := s.remains()
	return err != nil || len(all) > 0 || anyExists([]string{"/run/netns/" + s.mark, "/sys/class/net/" + s.mark})
}
