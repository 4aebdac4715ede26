package nspawn

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"pai.dev/pai/internal/poll"
)

const cgroupRoot = "/sys/fs/cgroup"

// hierarchies are the mount points of the control groups of this host: one for
// version 2, one per controller for version 1.
func hierarchies() []string {
	data, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return nil
	}
	var found []string
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if len(f) > 2 && (f[2] == "cgroup" || f[2] == "cgroup2") && (f[1] == cgroupRoot || strings.HasPrefix(f[1], cgroupRoot+"/")) {
			found = append(found, f[1])
		}
	}
	return found
}

// groups are the control groups of the machine, one per hierarchy.
func (m container) groups() []string {
	all := hierarchies()
	for i := range all {
		all[i] = filepath.Join(all[i], m.mark())
	}
	return all
}

// makeGroups makes the control groups of the machine, without limits. The
// machine makes its own groups in them.
func (m container) makeGroups() ([]string, error) {
	all := m.groups()
	if len(all) == 0 {
		return nil, fmt.Errorf("no control groups are mounted at %s", cgroupRoot)
	}
	for _, group := range all {
		if err := delegateControllers(filepath.Dir(group)); err != nil {
			return nil, err
		}
		if err := os.Mkdir(group, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("create a control group: %w", err)
		}
		// A version 1 cpuset group accepts no process before it has processors
		// and memory.
		for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
			all, err := os.ReadFile(filepath.Join(filepath.Dir(group), name))
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err == nil {
				err = os.WriteFile(filepath.Join(group, name), all, 0o644)
			}
			if err != nil {
				return nil, fmt.Errorf("set %s of a control group: %w", name, err)
			}
		}
	}
	return all, nil
}

// delegateControllers enables all controllers for the groups below a version 2
// root. Version 1 needs nothing.
func delegateControllers(root string) error {
	available, err := os.ReadFile(filepath.Join(root, "cgroup.controllers"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the controllers of %s: %w", root, err)
	}
	for _, controller := range strings.Fields(string(available)) {
		if err := os.WriteFile(filepath.Join(root, "cgroup.subtree_control"), []byte("+"+controller), 0o644); err != nil {
			return fmt.Errorf("delegate the controller %s: %w", controller, err)
		}
	}
	return nil
}

// processes are the PIDs of the machine on the host.
func (m container) processes() []int {
	var pids []int
	for _, group := range m.groups() {
		for _, dir := range subgroups(group) {
			data, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
			if err != nil {
				continue // the group was just removed
			}
			pids = append(pids, numbers(string(data))...)
		}
	}
	pids = slices.DeleteFunc(pids, func(pid int) bool { return pid == 0 })
	slices.Sort(pids)
	return slices.Compact(pids)
}

// owns reports whether a process belongs to the machine.
func (m container) owns(pid int) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(data)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) == 3 && (f[2] == "/"+m.mark() || strings.HasPrefix(f[2], "/"+m.mark()+"/")) {
			return true
		}
	}
	return false
}

// removeGroups removes the control groups of the machine. The kernel refuses
// for a moment after their last process has ended.
func (m container) removeGroups(ctx context.Context) error {
	wait := poll.Wait{For: "the removal of its control groups", Every: 50 * time.Millisecond}
	return wait.Until(ctx, func(context.Context) (bool, error) {
		var last error
		for _, group := range m.groups() {
			for _, dir := range slices.Backward(subgroups(group)) {
				if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
					last = err
				}
			}
		}
		return last == nil, last
	})
}

// subgroups are a control group and all groups in it, parents first.
func subgroups(group string) []string {
	var all []string
	_ = filepath.WalkDir(group, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			all = append(all, path)
		}
		return nil // groups appear and disappear meanwhile
	})
	return all
}
