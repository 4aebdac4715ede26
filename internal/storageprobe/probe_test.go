package storageprobe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"pai.dev/pai/internal/pai"
)

// onDirectories is a prober that can try directories.
func onDirectories() Prober {
	return Prober{Bytes: 2 << 20, MountInfo: func() (string, error) { return "20 1 8:1 / / rw - ext4 /dev/sda1 rw\n", nil }}
}

func namesIn(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestProbeMeasuresAndLeavesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil { //nolint:gosec // a storage that all users can write to
		t.Fatal(err)
	}
	got := onDirectories().Probe(t.Context(), Request{Type: pai.StorageDirectory, Path: dir})
	if got.Problem != "" || got.WriteMBs <= 0 || got.ReadMBs <= 0 || got.LatencyMs < 0 || got.FreeBytes <= 0 || got.FileSystem != "ext4" || !got.Local || got.OnlyRoot {
		t.Errorf("got %+v, want figures of a local file system that all can write to", got)
	}
	if names := namesIn(t, dir); len(names) > 0 {
		t.Errorf("the probe left %q", names)
	}
}

func TestProbeWithoutWritingReadsOnly(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	got := onDirectories().Probe(t.Context(), Request{Type: pai.StorageDirectory, Path: dir, ReadOnly: true})
	if got.Problem != "" || got.WriteMBs != 0 || got.ReadMBs != 0 || got.OnlyRoot {
		t.Errorf("got %+v, want no figures", got)
	}
}

func TestDirectoryThatOnlyRootCanWriteTo(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can try as another user")
	}
	// A login of root has group 0 as a further group.
	groups, err := syscall.Getgroups()
	if err == nil {
		err = syscall.Setgroups([]int{0})
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Setgroups(groups) })
	for mode, want := range map[os.FileMode]bool{0o755: true, 0o775: true, 0o777: false, 0o1777: false} {
		// What is above a storage does not count.
		dir := filepath.Join(t.TempDir(), "private", "storage")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Chmod(dir, uint32(mode)); err != nil {
			t.Fatal(err)
		}
		got := onDirectories().Probe(t.Context(), Request{Type: pai.StorageDirectory, Path: dir})
		if got.Problem != "" || got.OnlyRoot != want {
			t.Errorf("mode %o: got %+v, want that only root can write: %v", mode, got, want)
		}
	}
}

func TestProblemsOfADirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	pipe := filepath.Join(dir, "pipe")
	if err := errors.Join(os.WriteFile(file, nil, 0o600), syscall.Mkfifo(pipe, 0o600)); err != nil {
		t.Fatal(err)
	}
	full := onDirectories()
	full.Bytes = 1 << 61
	for _, c := range []struct {
		name string
		p    Prober
		path string
		want Problem
	}{
		{"no directory", onDirectories(), filepath.Join(dir, "absent"), Missing},
		{"a file", onDirectories(), file, NotDirectory},
		{"a named pipe, which would wait for a reader", onDirectories(), pipe, NotDirectory},
		{"too little free space", full, dir, Full},
	} {
		got := c.p.Probe(t.Context(), Request{Type: pai.StorageDirectory, Path: c.path})
		if got.Problem != c.want {
			t.Errorf("%s: got %+v, want %s", c.name, got, c.want)
		}
	}
}

// Data that change between the write and the read are found, also if only one block does.
func TestOtherDataAreFound(t *testing.T) {
	t.Parallel()
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	spoil := func(part string) {
		if part == "reading" {
			if _, err := f.WriteAt([]byte("x"), blockSize+7); err != nil {
				t.Error(err)
			}
		}
	}
	if _, err := measure(onDisk{f}, 2*blockSize, spoil); !errors.Is(err, errDiffers) || failure(err, NotWritable).Problem != Differs {
		t.Errorf("got %v, want %v", err, errDiffers)
	}
	if _, err := measure(onDisk{f}, 2*blockSize, func(string) {}); err != nil {
		t.Errorf("got %v, want no error", err)
	}
}

// A file system whose server is silent answers no call.
func TestSilentFileSystemIsAResult(t *testing.T) {
	t.Parallel()
	p := onDirectories()
	answers := make(chan struct{})
	defer close(answers)
	p.MountInfo = func() (string, error) { <-answers; return "", nil }
	got := p.examineWithin(t.Context(), 10*time.Millisecond, t.TempDir(), Request{Type: pai.StorageDirectory})
	if got.Problem != Silent || !strings.Contains(got.Detail, "no answer within 10ms while looking at the directory") {
		t.Errorf("got %+v, want a server that is silent, and what waited for it", got)
	}
}

func TestMountOfAnNFSStorage(t *testing.T) {
	t.Parallel()
	client := filepath.Join(t.TempDir(), "mount.nfs")
	if err := os.WriteFile(client, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	answers := func(context.Context, string) error { return nil }
	says := func(text string) func(context.Context, string, ...string) (string, error) {
		return func(context.Context, string, ...string) (string, error) {
			return "", fmt.Errorf("mount.nfs: exit status 32: %s", text)
		}
	}
	for _, c := range []struct {
		name    string
		clients []string
		dial    func(context.Context, string) error
		run     func(context.Context, string, ...string) (string, error)
		want    Problem
	}{
		{"no client", []string{client + ".absent"}, answers, nil, NoClient},
		{"a name without an address", nil, func(context.Context, string) error { return &net.DNSError{Err: "no such host", IsNotFound: true} }, nil, UnknownServer},
		{"a name service that is silent", nil, func(context.Context, string) error { return &net.DNSError{Err: "timeout", IsTimeout: true} }, nil, Silent},
		{"a host that refuses", nil, func(context.Context, string) error { return &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED} }, nil, NoServer},
		{"a host that is off", nil, func(context.Context, string) error { return &net.OpError{Op: "dial", Err: syscall.EHOSTUNREACH} }, nil, Silent},
		{"not exported to the machine", nil, answers, says("mount.nfs: access denied by server while mounting nas:/data"), Refused},
		{"not exported at all", nil, answers, says("mount.nfs: mounting nas:/data failed, reason given by server: No such file or directory"), NoExport},
		{"an old server", nil, answers, says("mount.nfs: requested NFS version or transport protocol is not supported for /x"), WrongVersion},
		{"another old server", nil, answers, says("mount.nfs: Protocol not supported for nas:/data on /x"), WrongVersion},
		{"a kernel without NFS", nil, answers, says("mount.nfs: No such device"), NoKernel},
		{"a server that stops", nil, answers, says("mount.nfs: Connection timed out for nas:/data on /x"), Silent},
		{"an unknown message", nil, answers, says("mount.nfs: Input/output error"), Failed},
	} {
		p := onDirectories()
		p.MountPoint, p.Dial, p.Run, p.Clients = t.TempDir(), c.dial, c.run, c.clients
		if p.Clients == nil {
			p.Clients = []string{client}
		}
		got := p.Probe(t.Context(), Request{Type: pai.StorageNFS, Server: "nas", Path: "/data"})
		if got.Problem != c.want || got.WriteMBs != 0 {
			t.Errorf("%s: got %+v, want %s and no figures", c.name, got, c.want)
		}
	}
}

// The mount is soft, apart from those of tasks, and in no list of the machine, and a program that
// hangs ends.
func TestMountOptions(t *testing.T) {
	t.Parallel()
	for readOnly, want := range map[bool]string{false: "soft,timeo=50,retrans=2,retry=0,nosharecache,nosuid,nodev", true: "soft,timeo=50,retrans=2,retry=0,nosharecache,nosuid,nodev,ro"} {
		var got []string
		p := onDirectories()
		p.MountPoint = t.TempDir()
		p.Clients = []string{p.MountPoint}
		dialed := ""
		p.Dial = func(ctx context.Context, address string) error {
			if _, limited := ctx.Deadline(); !limited {
				t.Error("a connection has no limit")
			}
			dialed = address
			return nil
		}
		p.Run = func(ctx context.Context, name string, args ...string) (string, error) {
			if _, limited := ctx.Deadline(); !limited {
				t.Error("a mount has no limit")
			}
			got = append([]string{name}, args...)
			return "", nil
		}
		result := p.Probe(t.Context(), Request{Type: pai.StorageNFS, Server: "10.0.0.9", Path: "/data", ReadOnly: readOnly})
		if result.Problem != "" || dialed != "10.0.0.9:2049" || !slices.Equal(got, []string{p.MountPoint, "10.0.0.9:/data", p.MountPoint, "-n", "-o", want}) {
			t.Errorf("read-only %v: got %+v after a connection to %s and %q, want the options %s", readOnly, result, dialed, got, want)
		}
	}
}

func TestRequestsAreThoseOfAConfiguration(t *testing.T) {
	t.Parallel()
	for _, r := range []Request{{Type: pai.StorageDirectory, Path: "/data"}, {Type: pai.StorageNFS, Server: "nas", Path: "/"}} {
		if err := r.Check(); err != nil {
			t.Errorf("%+v: got %v", r, err)
		}
	}
	for _, r := range []Request{
		{}, {Type: "s3", Path: "/data"}, {Type: pai.StorageDirectory, Path: "data"}, {Type: pai.StorageDirectory, Path: "/data/.."},
		{Type: pai.StorageNFS, Path: "/data"}, {Type: pai.StorageNFS, Server: "-osoft", Path: "/data"}, {Type: pai.StorageNFS, Server: "nas:/", Path: "/data"},
		{Type: pai.StorageNFS, Server: "nas", Path: "/data,rw"},
	} {
		if err := r.Check(); err == nil {
			t.Errorf("%+v was accepted", r)
		}
	}
}
