package inspect

import (
	"context"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	// mountAnswer is how long a file system with a server can take to answer.
	mountAnswer = 5 * time.Second
	// maxMounts bounds how many are asked and reported.
	maxMounts = 1000
)

// NetworkMount is a mounted file system that a server provides.
type NetworkMount struct {
	Path   string `json:"path"`
	Type   string `json:"type"`
	Source string `json:"source"`
	// Silent: it did not respond in time. Processes that use it wait.
	Silent bool `json:"silent,omitempty"`
}

// networkTypes are the types of file systems that have a server, as the kernel names them.
func networkTypes() []string {
	return []string{"nfs", "nfs4", "cifs", "smb3", "ceph", "lustre", "beegfs", "wekafs", "gpfs", "glusterfs", "fuse.glusterfs", "fuse.ceph"}
}

// networkMounts asks each file system that has a server how full it is: unlike the attributes
// of a file, that is not answered from a cache. One that does not respond holds its question,
// which ends with this program.
func (i *inspection) networkMounts(_ context.Context, c *Condition) error {
	data, err := i.read("/proc/self/mountinfo")
	c.MountsKnown = err == nil
	i.problem(err, string(ConditionOf), "mounts")
	c.NetworkMounts = networkMountsIn(string(data))
	markSilent(c.NetworkMounts, mountAnswer, func(path string) {
		var s syscall.Statfs_t
		_ = syscall.Statfs(i.at(path), &s) // an error is an answer
	})
	return nil
}

// markSilent asks all at the same time, and marks those that do not respond within a limit.
func markSilent(mounts []NetworkMount, limit time.Duration, ask func(path string)) {
	answers := make(chan int, len(mounts)) // also for those that come too late
	for n, m := range mounts {
		mounts[n].Silent = true
		go func() {
			ask(m.Path)
			answers <- n
		}()
	}
	late := time.After(limit)
	for range mounts {
		select {
		case n := <-answers:
			mounts[n].Silent = false
		case <-late:
			return
		}
	}
}

// networkMountsIn reads a file in the form of proc_pid_mountinfo(5).
func networkMountsIn(mountinfo string) []NetworkMount {
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	var mounts []NetworkMount
	for line := range strings.Lines(mountinfo) {
		before, after, found := strings.Cut(line, " - ")
		fields, source := strings.Fields(before), strings.Fields(after)
		if !found || len(fields) < 6 || len(source) < 2 || !slices.Contains(networkTypes(), source[0]) || len(mounts) >= maxMounts {
			continue
		}
		mounts = append(mounts, NetworkMount{Path: unescape.Replace(fields[4]), Type: source[0], Source: unescape.Replace(source[1])})
	}
	return mounts
}

// nfsClient looks for the program that mounts NFS, where mount(8) looks for it.
func (i *inspection) nfsClient(_ context.Context, c *Condition) error {
	for _, dir := range []string{"/sbin", "/usr/sbin"} {
		there, err := i.exists(dir + "/mount.nfs")
		if err != nil {
			return err
		}
		c.NFSClient = c.NFSClient || there
	}
	return nil
}
