package storageprobe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"pai.dev/pai/internal/pai"
)

// Limits of one probe.
const (
	dialLimit    = 5 * time.Second
	mountLimit   = 20 * time.Second
	examineLimit = 30 * time.Second
	// Limit is the longest time of a probe. The program ends then, whatever it waits for.
	Limit = dialLimit + mountLimit + examineLimit + 5*time.Second
)

// Request is a storage to try.
type Request struct {
	Type     string `json:"type"`             // pai.StorageNFS or pai.StorageDirectory
	Server   string `json:"server,omitempty"` // host name or IPv4 address
	Path     string `json:"path"`             // on the server, or on the machine; absolute
	ReadOnly bool   `json:"readOnly,omitempty"`
}

// Check returns an error for a request that is not one of a valid configuration.
func (r Request) Check() error {
	switch {
	case r.Type != pai.StorageNFS && r.Type != pai.StorageDirectory:
		return fmt.Errorf("unknown type of storage %q", r.Type)
	case !path.IsAbs(r.Path) || path.Clean(r.Path) != r.Path || strings.ContainsAny(r.Path, "\x00,"):
		return fmt.Errorf("%q is not the path of a storage", r.Path)
	case r.Type == pai.StorageNFS && (r.Server == "" || strings.HasPrefix(r.Server, "-") || strings.ContainsAny(r.Server, ":,/ \x00")):
		return fmt.Errorf("%q is not the server of a storage", r.Server)
	}
	return nil
}

// Result is what a machine found.
type Result struct {
	// Problem is empty if tasks of the machine can use the storage.
	Problem Problem `json:"problem,omitempty"`
	// Detail is what the machine said about the problem: one line without control characters.
	Detail string `json:"detail,omitempty"`
	// FileSystem is the type of the file system, as the kernel names it, such as nfs4 or ext4.
	FileSystem string `json:"fileSystem,omitempty"`
	// NFSVersion is what machine and server agreed on, such as 4.2.
	NFSVersion string `json:"nfsVersion,omitempty"`
	// Local: the file system is on a disk of the machine, so no other machine has the files.
	Local bool `json:"local,omitempty"`
	// OnlyRoot: root can write, and a user without rights cannot.
	OnlyRoot bool `json:"onlyRoot,omitempty"`
	// WriteMBs and ReadMBs are in 1,000,000 bytes per second, to and from the server or the
	// disk. They are 0 for a storage that is read-only.
	WriteMBs float64 `json:"writeMBs,omitempty"`
	ReadMBs  float64 `json:"readMBs,omitempty"`
	// LatencyMs is the median time of a write of 4 KiB that is on the disk of the server, in
	// milliseconds; of a read-only storage, the time to list it.
	LatencyMs float64 `json:"latencyMs,omitempty"`
	// FreeBytes is what users can still write; 0 if the file system does not report it.
	FreeBytes int64 `json:"freeBytes,omitempty"`
}

// Prober tries storages on this machine.
type Prober struct {
	// MountPoint is an existing directory. An NFS storage is mounted over it, so the process
	// must have its mount namespace for itself.
	MountPoint string
	// Run runs a program; its error has what the program printed.
	Run func(ctx context.Context, name string, args ...string) (string, error)
	// Dial returns nil if a TCP connection to an address can be opened.
	Dial func(ctx context.Context, address string) error
	// Clients are the paths where mount.nfs can be.
	Clients []string
	// MountInfo reads the mounts of the process, in the form of proc_pid_mountinfo(5).
	MountInfo func() (string, error)
	// Bytes is how much is written and read.
	Bytes int64
}

// Probe tries a storage. It returns within Limit if the context has no earlier end, and can then
// leave a goroutine that waits for the file system.
func (p Prober) Probe(ctx context.Context, r Request) Result {
	dir := r.Path
	if r.Type == pai.StorageNFS {
		if failed := p.mount(ctx, r); failed.Problem != "" {
			return failed
		}
		dir = p.MountPoint
	}
	return p.examineWithin(ctx, examineLimit, dir, r)
}

// examineWithin is examine with a limit. A file system whose server is silent answers no
// call, and no call can be canceled.
func (p Prober) examineWithin(ctx context.Context, limit time.Duration, dir string, r Request) Result {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var doing atomic.Value
	doing.Store("looking at the directory")
	done := make(chan Result, 1) // also if nothing waits for it
	go func() { done <- p.examine(dir, r, func(what string) { doing.Store(what) }) }()
	select {
	case found := <-done:
		return found
	case <-ctx.Done():
		return Result{Problem: Silent, Detail: fmt.Sprintf("no answer within %s while %s", limit, doing.Load())}
	}
}

// examine tries the directory of a storage. It calls doing before each part.
func (p Prober) examine(dir string, r Request, doing func(string)) (found Result) {
	d, err := os.OpenFile(dir, os.O_RDONLY|syscall.O_DIRECTORY, 0)
	if err != nil {
		return failure(err, NotReadable)
	}
	defer d.Close()
	free, known := freeBytes(dir)
	found.FreeBytes = free
	p.describe(dir, &found)
	doing("listing the directory")
	start := time.Now()
	if _, err := d.ReadDir(1); err != nil && !errors.Is(err, io.EOF) {
		return found.with(failure(err, NotReadable))
	}
	found.LatencyMs = milliseconds(time.Since(start))
	if r.ReadOnly {
		return found
	}
	doing("making a file")
	f, err := scratchFile(d)
	if err != nil {
		return found.with(failure(err, NotWritable))
	}
	defer f.Close()
	if known && free < 2*p.Bytes {
		return found.with(Result{Problem: Full, Detail: fmt.Sprintf("%d bytes are free", free)})
	}
	m, err := measure(onDisk{f}, p.Bytes, doing)
	if err != nil {
		return found.with(failure(err, NotWritable))
	}
	found.WriteMBs, found.ReadMBs, found.LatencyMs = m.writeMBs, m.readMBs, milliseconds(m.latency)
	doing("writing as a user who is not root")
	found.OnlyRoot = !othersCanWrite(d)
	return found
}

// with is r with the problem of another result.
func (r Result) with(failed Result) Result {
	r.Problem, r.Detail = failed.Problem, failed.Detail
	return r
}

// describe adds what the kernel says of the file system.
func (p Prober) describe(dir string, found *Result) {
	text, err := p.MountInfo()
	if err != nil {
		return
	}
	m := mountOf(text, dir)
	found.FileSystem, found.NFSVersion, found.Local = m.fileSystem, m.nfsVersion, m.local()
}

// freeBytes is what users can write to the file system of a directory, if that reports it.
func freeBytes(dir string) (free int64, known bool) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil || s.Blocks == 0 {
		return 0, false
	}
	return int64(min(s.Bavail, 1<<40)) * s.Bsize, true
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
