package inspect

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"pai.dev/pai/internal/layout"
)

// Disk is the file system of a directory.
type Disk struct {
	Dir, Mount string
	// Free includes incomplete copies of programs, which the next copy deletes.
	Size, Free int64
	Inodes     int64 // 0 if the file system has no count
	FreeInodes int64
}

// space reads the file systems of the directories that grow.
func (i *inspection) space(_ context.Context, c *Condition) error {
	partial, err := i.partialCopies()
	if err != nil {
		return err
	}
	// The programs come first.
	for _, dir := range []string{layout.ProgramsDir, layout.ContainerdDir, layout.KubeletDir, layout.EtcdDir, layout.StateDir, layout.SnapshotsDir} {
		var s syscall.Statfs_t
		existing, err := i.statfs(dir, &s)
		if err != nil {
			return err
		}
		d := Disk{Dir: dir, Size: int64(s.Blocks) * s.Bsize, Free: int64(s.Bavail) * s.Bsize, Inodes: int64(s.Files), FreeInodes: int64(s.Ffree)}
		if d.Mount, err = i.mountOf(existing); err != nil {
			return err
		}
		c.Disks = append(c.Disks, d)
	}
	c.addFree(partial)
	return nil
}

// addFree adds free space to the file system of the programs.
func (c *Condition) addFree(bytes int64) {
	for n, d := range c.Disks {
		if d.Mount == c.Disks[0].Mount {
			c.Disks[n].Free += bytes
		}
	}
}

// mountOf is the directory where the file system of a directory begins.
func (i *inspection) mountOf(dir string) (string, error) {
	own, err := os.Stat(i.at(dir))
	if err != nil {
		return "", i.plain(err)
	}
	for dir != "/" {
		parent, err := os.Stat(i.at(path.Dir(dir)))
		if err != nil {
			return "", i.plain(err)
		}
		if deviceOf(parent) != deviceOf(own) {
			break
		}
		dir = path.Dir(dir)
	}
	return dir, nil
}

func deviceOf(info fs.FileInfo) uint64 {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return s.Dev
	}
	return 0
}

// partialCopies is the size of incomplete copies of programs.
func (i *inspection) partialCopies() (int64, error) {
	dirs, err := filepath.Glob(i.at(layout.ProgramsDir + "/*.new"))
	var size int64
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
			if err != nil {
				return i.plain(err)
			}
			if info, err := d.Info(); err == nil {
				if s, ok := info.Sys().(*syscall.Stat_t); ok {
					size += s.Blocks * 512
				}
			}
			return nil
		})
		if err != nil {
			return 0, err
		}
	}
	return size, err
}

// memoryUse reads the memory, and that of the control plane.
func (i *inspection) memoryUse(ctx context.Context, c *Condition) error {
	memory, err := i.memory()
	if err != nil {
		return err
	}
	c.MemoryTotal, c.MemoryAvailable, c.Swap = memory["MemTotal"], memory["MemAvailable"], map[string]int64{}
	var names []string
	for _, s := range layout.Slots() {
		names = append(names, layout.Unit(s.Etcd), layout.Unit(s.APIServer))
	}
	units, err := i.units(ctx, names...)
	if err != nil {
		return err
	}
	for _, u := range units {
		if status, err := i.read(fmt.Sprintf("/proc/%d/status", u.pid)); u.pid != 0 && err == nil { // else it has ended
			c.ControlPlaneRSS += kilobytes(status)["VmRSS"]
		}
	}
	swaps, err := i.read("/proc/swaps") // a kernel without swap has no such file
	for line := range strings.Lines(string(swaps)) {
		f := strings.Fields(line)
		if len(f) < 3 || f[0] == "Filename" {
			continue
		}
		size, err := strconv.ParseInt(f[2], 10, 64)
		if err != nil {
			return fmt.Errorf("read the size of swap %s: %w", f[0], err)
		}
		c.Swap[f[0]] = size << 10
	}
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	return nil
}
