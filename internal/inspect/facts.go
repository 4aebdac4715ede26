package inspect

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"pai.dev/pai/internal/layout"
)

// capSysResource is the bit of CAP_SYS_RESOURCE (linux/capability.h).
const capSysResource = 24

// overlayMagic is the type of an overlay file system (linux/magic.h).
const overlayMagic = 0x794c7630

// facts reports what the settings of the machine depend on.
func (i *inspection) facts(context.Context) error {
	unified, err := i.exists("/sys/fs/cgroup/cgroup.controllers")
	if err != nil {
		return err
	}
	capabilities, err := i.capabilities()
	if err != nil {
		return err
	}
	resolver, err := i.read(layout.ResolverFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var disk syscall.Statfs_t
	if _, err := i.statfs(layout.ContainerdDir, &disk); err != nil {
		return err
	}
	memory, err := i.memory()
	if err != nil {
		return err
	}
	i.report.Facts = &MachineFacts{
		Cores:         runtime.NumCPU(),
		MemoryMiB:     int(memory["MemTotal"] >> 20),
		CgroupV1:      !unified,
		OOMRestricted: capabilities&(1<<capSysResource) == 0,
		Resolver:      bytes.HasPrefix(resolver, []byte("nameserver")) || bytes.Contains(resolver, []byte("\nnameserver")),
		Overlay:       disk.Type == overlayMagic,
	}
	return nil
}

// capabilities are those of the first process.
func (i *inspection) capabilities() (uint64, error) {
	status, err := i.read("/proc/1/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if value, found := strings.CutPrefix(line, "CapEff:"); found {
			return strconv.ParseUint(strings.TrimSpace(value), 16, 64)
		}
	}
	return 0, fmt.Errorf("/proc/1/status has no capabilities")
}

// statfs reads the file system of a directory, or of the directory in which it
// would be created, and returns the path that exists.
func (i *inspection) statfs(dir string, s *syscall.Statfs_t) (string, error) {
	for {
		err := syscall.Statfs(i.at(dir), s)
		if !errors.Is(err, fs.ErrNotExist) || dir == "/" {
			if err != nil {
				err = &fs.PathError{Op: "statfs", Path: dir, Err: err}
			}
			return dir, err
		}
		dir = path.Dir(dir)
	}
}
