package atomicfile_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"pai.dev/pai/internal/atomicfile"
)

// writers are the ways to replace a file.
func writers() map[string]func(path, content string, mode fs.FileMode) error {
	return map[string]func(path, content string, mode fs.FileMode) error{
		"Write": func(path, content string, mode fs.FileMode) error {
			return atomicfile.Write(path, []byte(content), mode)
		},
		"WriteFrom": func(path, content string, mode fs.FileMode) error {
			return atomicfile.WriteFrom(path, mode, func(w io.Writer) error { _, err := io.WriteString(w, content); return err })
		},
		"WriteProgram": func(path, content string, mode fs.FileMode) error {
			return atomicfile.WriteProgram(path, []byte(content), mode)
		},
	}
}

func TestWriteReplacesContentAndMode(t *testing.T) {
	t.Parallel()
	for name, write := range writers() {
		path := filepath.Join(t.TempDir(), "file")
		for content, mode := range map[string]fs.FileMode{"first": 0o600, "second": 0o755, "third": 0o644} {
			if err := write(path, content, mode); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			expect(t, path, content, mode)
		}
	}
}

func TestFailedWriteChangesNothing(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "file")
	if err := atomicfile.Write(path, []byte("before"), 0o600); err != nil {
		t.Fatal(err)
	}
	full := errors.New("disk full")
	err := atomicfile.WriteFrom(path, 0o644, func(w io.Writer) error {
		_, err := io.WriteString(w, "half")
		return errors.Join(err, full)
	})
	if !errors.Is(err, full) {
		t.Errorf("got %v, want the error of the writer", err)
	}
	expect(t, path, "before", 0o600)

	directory := filepath.Join(filepath.Dir(path), "directory")
	if err := os.MkdirAll(filepath.Join(directory, "entry"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, write := range writers() {
		if err := write(directory, "text", 0o600); err == nil {
			t.Errorf("%s: got no error for a directory, want one", name)
		}
		if err := write(filepath.Join(path, "below"), "text", 0o600); err == nil {
			t.Errorf("%s: got no error below a file, want one", name)
		}
	}
	os.RemoveAll(directory)
	expect(t, path, "before", 0o600)
}

func TestCreateKeepsExistingFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "file")
	if err := atomicfile.Create(path, []byte("first"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := atomicfile.Create(path, []byte("second"), 0o644); !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v, want that the file exists", err)
	}
	expect(t, path, "first", 0o600)
}

func TestCreateHasOneWinner(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "file")
	var done sync.WaitGroup
	won := make(chan string, 8)
	for _, content := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		done.Go(func() {
			if err := atomicfile.Create(path, []byte(content), 0o600); err == nil {
				won <- content
			} else if !errors.Is(err, fs.ErrExist) {
				t.Error(err)
			}
		})
	}
	done.Wait()
	if len(won) != 1 {
		t.Fatalf("got %d winners, want 1", len(won))
	}
	expect(t, path, <-won, 0o600)
}

func TestStagedFileIsNotInPlaceUntilCommit(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "file")
	stage := func(content string) *atomicfile.Staged {
		s, err := atomicfile.Stage(path, 0o600, func(w io.Writer) error { _, err := io.WriteString(w, content); return err })
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	dropped := stage("dropped")
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v before the commit, want no file", err)
	}
	dropped.Discard()
	kept := stage("kept")
	if err := kept.Commit(); err != nil {
		t.Fatal(err)
	}
	kept.Discard()
	expect(t, path, "kept", 0o600)
}

func TestWriteRemovesStaleFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	for name, age := range map[string]time.Duration{"file.1": 2 * time.Hour, "file.2": time.Minute, "other.1": 2 * time.Hour} {
		left := filepath.Join(dir, atomicfile.Prefix+name)
		if err := os.WriteFile(left, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(left, time.Time{}, time.Now().Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	if err := atomicfile.Write(path, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	var names []string
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if want := []string{atomicfile.Prefix + "file.2", atomicfile.Prefix + "other.1", "file"}; !slices.Equal(names, want) {
		t.Errorf("got %q, want %q", names, want)
	}
}

// expect checks a file, and that nothing is left beside it.
func expect(t *testing.T, path, content string, mode fs.FileMode) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil || string(data) != content {
		t.Errorf("got %q (%v), want %q", data, err, content)
	}
	if info, err := os.Stat(path); err == nil && info.Mode().Perm() != mode {
		t.Errorf("got mode %o, want %o", info.Mode().Perm(), mode)
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
		t.Errorf("got %v beside the file (%v), want nothing", entries, err)
	}
}
