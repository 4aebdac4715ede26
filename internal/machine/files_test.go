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
	dir := filepath.Join(memoryDir(t), "new", "it's a folder")
	path := filepath.Join(dir, "file")

	if _, err := host.ReadFile(ctx, path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("reading a file that is not there: %v", err)
	}
	if names, err := host.ReadDir(ctx, dir); err != nil || len(names) != 0 {
		t.Errorf("listing a folder that is not there: %q, %v", names, err)
	}
	if err := host.Remove(ctx, path); err != nil {
		t.Errorf("removing a file that is not there: %v", err)
	}
	contents := [][]byte{[]byte("first"), {}, []byte("with a \x00 byte, no end of line"), bytes.Repeat([]byte("0123456789\n"), 1<<20)}
	for i, content := range contents {
		mode := []fs.FileMode{0o644, 0o600, 0o755, 0o400}[i]
		if err := host.WriteFile(ctx, path, content, mode); err != nil {
			t.Fatal(err)
		}
		got, err := host.ReadFile(ctx, path)
		if err != nil || !bytes.Equal(got, content) {
			t.Errorf("content %d: read %d bytes of %d, %v", i, len(got), len(content), err)
		}
		if info := stat(t, path); info.Mode() != mode {
			t.Errorf("content %d: mode %v, want %v", i, info.Mode(), mode)
		}
	}
	if info := stat(t, dir); info.Mode().Perm() != 0o755 {
		t.Errorf("the folder's mode is %v", info.Mode())
	}
	for _, name := range []string{"b", "a", ".hidden", "c d"} {
		if err := host.CreateFile(ctx, filepath.Join(dir, name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := host.CreateFile(ctx, filepath.Join(dir, "a"), []byte("other"), 0o600); !errors.Is(err, fs.ErrExist) {
		t.Errorf("creating a file that is there: %v", err)
	}
	if got, err := host.ReadFile(ctx, filepath.Join(dir, "a")); err != nil || string(got) != "a" {
		t.Errorf("a refused creation left %q, %v", got, err)
	}
	if err := host.Remove(ctx, path); err != nil {
		t.Error(err)
	}
	names, err := host.ReadDir(ctx, dir)
	if want := []string{".hidden", "a", "b", "c d"}; err != nil || !slices.Equal(names, want) {
		t.Errorf("the folder holds %q, want %q, %v", names, want, err)
	}
}

// memoryDir is a folder in memory: writes are synced, which takes seconds on a
// disk that is busy with something else.
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
	inside := filepath.Join(file, "no-folder")
	for name, err := range map[string]error{
		"write":       host.WriteFile(t.Context(), inside, []byte("hunter2"), 0o600),
		"create":      host.CreateFile(t.Context(), inside, []byte("hunter2"), 0o600),
		"relative":    host.WriteFile(t.Context(), "no-folder", nil, 0o600),
		"on a folder": host.WriteFile(t.Context(), filepath.Dir(file), []byte("hunter2"), 0o600),
	} {
		if err == nil || !strings.Contains(err.Error(), `"m1"`) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Of many who create one file, one succeeds, and all see its content whole.
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
				t.Errorf("read %d bytes, %v", len(got), err)
			}
		})
	}
	wg.Wait()
	if winners.Load() != 1 {
		t.Errorf("%d created the file", winners.Load())
	}
	if left := files(t, filepath.Dir(path)); len(left) != 1 {
		t.Errorf("left: %q", left)
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

// Whoever reads while a file is replaced, or its writer is cut off, sees the
// old content or the new one, and never a mode wider than asked for.
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
				t.Errorf("saw %d bytes, %v", len(got), err)
				return
			}
			for _, name := range files(t, dir) {
				if info, err := os.Stat(filepath.Join(dir, name)); err == nil && info.Mode().Perm() != 0o600 {
					t.Errorf("%s has mode %v", name, info.Mode())
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
		t.Errorf("the folder holds %q, %v", names, err)
	}
}
