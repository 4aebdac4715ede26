package machine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestFiles(t *testing.T) {
	t.Parallel()
	host := startSSHD(t).dial(t)
	ctx := t.Context()
	dir := filepath.Join(memoryDir(t), "new", "it's a directory")
	path := filepath.Join(dir, "file")

	if _, err := host.ReadFile(ctx, path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v for a missing file, want fs.ErrNotExist", err)
	}
	if names, err := host.ReadDir(ctx, dir); err != nil || len(names) != 0 {
		t.Errorf("got %q (%v) for a missing directory, want nothing", names, err)
	}
	if err := host.Remove(ctx, path); err != nil {
		t.Errorf("got %v removing a missing file, want none", err)
	}
	contents := [][]byte{[]byte("first"), {}, []byte("with a \x00 byte, no end of line"), bytes.Repeat([]byte("0123456789\n"), 1<<20)}
	for i, content := range contents {
		mode := []fs.FileMode{0o644, 0o600, 0o755, 0o400}[i]
		if err := host.WriteFile(ctx, path, content, mode); err != nil {
			t.Fatal(err)
		}
		got, err := host.ReadFile(ctx, path)
		if err != nil || !bytes.Equal(got, content) {
			t.Errorf("content %d: got %d bytes (%v), want %d", i, len(got), err, len(content))
		}
		if info := stat(t, path); info.Mode() != mode {
			t.Errorf("content %d: got mode %v, want %v", i, info.Mode(), mode)
		}
	}
	if info := stat(t, dir); info.Mode().Perm() != 0o755 {
		t.Errorf("got mode %v of the directory, want 0755", info.Mode())
	}
	for _, name := range []string{"b", "a", ".hidden", "c d"} {
		if err := host.CreateFile(ctx, filepath.Join(dir, name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := host.CreateFile(ctx, filepath.Join(dir, "a"), []byte("other"), 0o600); !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v for an existing file, want fs.ErrExist", err)
	}
	if got, err := host.ReadFile(ctx, filepath.Join(dir, "a")); err != nil || string(got) != "a" {
		t.Errorf("got %q (%v) after a refused creation, want the old content", got, err)
	}
	if err := host.Remove(ctx, path); err != nil {
		t.Error(err)
	}
	names, err := host.ReadDir(ctx, dir)
	if want := []string{".hidden", "a", "b", "c d"}; err != nil || !slices.Equal(names, want) {
		t.Errorf("got %q (%v) in the directory, want %q", names, err, want)
	}
}

// memoryDir is in memory: syncing takes seconds on a busy disk.
func memoryDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "pai-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func stat(t *testing.T, path string) fs.FileInfo {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func TestFileErrorsNameTheFile(t *testing.T) {
	t.Parallel()
	host := startSSHD(t).dial(t)
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, "")
	inside := filepath.Join(file, "no-directory")
	for name, err := range map[string]error{
		"write":     host.WriteFile(t.Context(), inside, []byte("hunter2"), 0o600),
		"create":    host.CreateFile(t.Context(), inside, []byte("hunter2"), 0o600),
		"relative":  host.WriteFile(t.Context(), "no-directory", nil, 0o600),
		"directory": host.WriteFile(t.Context(), filepath.Dir(file), []byte("hunter2"), 0o600),
	} {
		if err == nil || !strings.Contains(err.Error(), `"m1"`) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: got %v, want the machine and no content", name, err)
		}
	}
}

// One of many callers creates the file, and all read its complete content.
func TestCreateFileIsExclusive(t *testing.T) {
	t.Parallel()
	host := startSSHD(t).dial(t)
	path := filepath.Join(memoryDir(t), "lock")
	var winners atomic.Int32
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			content := strings.Repeat(fmt.Sprintf("%02d", i), 50_000)
			switch err := host.CreateFile(t.Context(), path, []byte(content), 0o600); {
			case err == nil:
				winners.Add(1)
			case !errors.Is(err, fs.ErrExist):
				t.Error(err)
			}
			got, err := host.ReadFile(t.Context(), path)
			if err != nil || len(got) != 100_000 || strings.Trim(string(got), string(got[:2])) != "" {
				t.Errorf("got %d bytes (%v), want the complete content", len(got), err)
			}
		})
	}
	wg.Wait()
	if winners.Load() != 1 {
		t.Errorf("got %d callers that created the file, want 1", winners.Load())
	}
	if left := files(t, filepath.Dir(path)); len(left) != 1 {
		t.Errorf("got %q left, want only the file", left)
	}
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// A reader sees the old content or the new one, even if a write is cut off, and
// never a wider mode.
func TestWriteFileIsAtomic(t *testing.T) {
	t.Parallel()
	sshd := startSSHD(t)
	host := sshd.dial(t)
	dir := memoryDir(t)
	path := filepath.Join(dir, "file")
	contents := []string{strings.Repeat("old", 300_000), strings.Repeat("new!", 300_000)}
	write(t, path, contents[0])
	stop := make(chan struct{})
	var reader sync.WaitGroup
	reader.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			got, err := os.ReadFile(path)
			if err != nil || (string(got) != contents[0] && string(got) != contents[1]) {
				t.Errorf("got %d bytes (%v), want the old or the new content", len(got), err)
				return
			}
			for _, name := range files(t, dir) {
				if info, err := os.Stat(filepath.Join(dir, name)); err == nil && info.Mode().Perm() != 0o600 {
					t.Errorf("got %s with mode %v, want 0600", name, info.Mode())
					return
				}
			}
		}
	})
	cut := 0
	for i := range 12 {
		ctx, cancel := context.WithCancel(t.Context())
		if i%2 == 1 {
			time.AfterFunc(time.Duration(i*5)*time.Millisecond, cancel)
		}
		if err := host.WriteFile(ctx, path, []byte(contents[i%2]), 0o600); err != nil {
			if !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			cut++
		}
		cancel()
	}
	close(stop)
	reader.Wait()
	t.Logf("%d of 12 writes were cut off", cut)
	names, err := host.ReadDir(t.Context(), dir)
	if err != nil || !slices.Equal(names, []string{"file"}) {
		t.Errorf("got %q (%v) in the directory, want only the file", names, err)
	}
}

// Steps write files into one directory at the same time. The temporary files of others come
// and go meanwhile.
func TestFilesOfOneDirectoryAreWrittenAtTheSameTime(t *testing.T) {
	t.Parallel()
	host, dir := startSSHD(t).dial(t), memoryDir(t)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			name := filepath.Join(dir, fmt.Sprintf("%s%d", ".pai-tmp.", n%500))
			if os.Remove(name) != nil {
				_ = os.WriteFile(name, nil, 0o600)
			}
		}
	}()
	for range 20 {
		if err := host.WriteFile(t.Context(), filepath.Join(dir, "file"), nil, 0o600); err != nil {
			t.Error(err)
		}
		if _, err := host.ReadDir(t.Context(), dir); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	<-stopped
}

func TestAppendFile(t *testing.T) {
	t.Parallel()
	host := startSSHD(t).dial(t)
	ctx := t.Context()
	path := filepath.Join(memoryDir(t), "new", "it's a log")
	var want []byte
	for i, data := range [][]byte{[]byte("first\n"), []byte("with a \x00 byte\n"), bytes.Repeat([]byte("0123456789abcde\n"), 1<<16)} {
		if err := host.AppendFile(ctx, path, data); err != nil {
			t.Fatal(err)
		}
		want = append(want, data...)
		if got, err := host.ReadFile(ctx, path); err != nil || !bytes.Equal(got, want) {
			t.Errorf("append %d: got %d bytes (%v), want %d", i, len(got), err, len(want))
		}
	}
	if info := stat(t, path); info.Mode() != 0o600 {
		t.Errorf("got mode %v, want 0600", info.Mode())
	}
	for _, data := range [][]byte{nil, make([]byte, 1<<20+1)} {
		if err := host.AppendFile(ctx, path, data); err == nil {
			t.Errorf("got no error appending %d bytes", len(data))
		}
	}
	// Appends of several processes do not mix.
	shared := filepath.Join(filepath.Dir(path), "shared")
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			line := append(bytes.Repeat([]byte{byte('a' + i)}, 100_000), '\n')
			for range 3 {
				if err := host.AppendFile(ctx, shared, line); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	got, err := host.ReadFile(ctx, shared)
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range bytes.Split(bytes.TrimSuffix(got, []byte("\n")), []byte("\n")) {
		if len(line) != 100_000 || len(bytes.Trim(line, string(line[:1]))) > 0 {
			t.Errorf("line %d: got %d bytes of several appends", i+1, len(line))
		}
	}
}
