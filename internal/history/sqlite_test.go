package history

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/pai"
)

func openIn(t testing.TB, dir string, maxBytes int64) *Store {
	t.Helper()
	s, err := OpenSQLite(t.Context(), dir, maxBytes)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// The jobs of all users are in the file.
func TestFileIsPrivate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openIn(t, dir, 1<<30)
	put(t, s, Record{Status: some("u1", "ada", "train")})
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) < 2 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		if info, err := os.Stat(f); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", f, info.Mode(), err)
		}
	}
}

// Writing to a file that was deleted would lose what is written.
func TestFileThatIsReplaced(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openIn(t, dir, 1<<30)
	put(t, s, Record{Status: some("u1", "ada", "train")})
	for what, change := range map[string]func() error{
		"deleted":  func() error { return os.Remove(filepath.Join(dir, SQLiteFile)) },
		"replaced": func() error { return os.WriteFile(filepath.Join(dir, SQLiteFile), nil, 0o600) },
	} {
		_ = os.Remove(filepath.Join(dir, SQLiteFile))
		if err := change(); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		if _, err := s.Record(t.Context(), Record{Status: some("u2", "ada", "other")}); err == nil {
			t.Errorf("%s: a job was recorded", what)
		}
		if err := s.Check(t.Context()); err == nil {
			t.Errorf("%s: not noticed", what)
		}
	}
	again := openIn(t, dir, 1<<30)
	if empty, err := again.Empty(t.Context()); err != nil || !empty {
		t.Errorf("the new file: empty is %t, %v", empty, err)
	}
}

// A damaged file is an error, and stays as it is.
func TestDamagedFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	text := []byte(strings.Repeat("not a database", 1000))
	if err := os.WriteFile(filepath.Join(dir, SQLiteFile), text, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenSQLite(t.Context(), dir, 1<<30); err == nil || !strings.Contains(err.Error(), SQLiteFile) {
		t.Errorf("got %v", err)
	}
	if after, err := os.ReadFile(filepath.Join(dir, SQLiteFile)); err != nil || string(after) != string(text) {
		t.Errorf("the file changed: %v", err)
	}
}

// The file never fills the disk: the oldest jobs are deleted, and without any, writing fails.
func TestFileIsBounded(t *testing.T) {
	t.Parallel()
	const limit = 1 << 20
	dir := t.TempDir()
	s := openIn(t, dir, limit)
	text := []byte(strings.Repeat("x", 50<<10))
	for i := range 100 {
		uid := fmt.Sprint(i)
		if _, err := s.Record(t.Context(), Record{Status: ended(some(uid, "ada", uid), job.StateFailed, start), Observed: start, Protocol: text}); err != nil {
			t.Fatalf("job %d: %v", i, err)
		}
		if err := s.Leave(t.Context(), uid, time.Time{}, start); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Prune(t.Context(), 1000, time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	for i := 0; i < 100 && err == nil; i++ {
		_, err = s.Record(t.Context(), Record{Status: some("living"+fmt.Sprint(i), "ada", "x"), Observed: start, Protocol: text})
	}
	if err == nil {
		t.Error("the file has no limit")
	}
	if info, err := os.Stat(filepath.Join(dir, SQLiteFile)); err != nil || info.Size() > limit {
		t.Errorf("the file has %d bytes, %v", info.Size(), err)
	}
	if _, err := s.Prune(t.Context(), 1000, time.Time{}); err != nil { // a full file can be read, and pruned
		t.Error(err)
	}
}

// writerDir is the variable that makes this program write jobs into a directory.
const writerDir = "PAI_TEST_HISTORY_WRITER"

func writeUntilKilled(dir string) {
	s, err := OpenSQLite(context.Background(), dir, 1<<30)
	for i := 0; err == nil; i++ {
		uid := fmt.Sprint(i)
		if _, err = s.Record(context.Background(), Record{Status: some(uid, "ada", uid), Observed: start, Protocol: []byte(uid)}); err == nil {
			fmt.Println(uid)
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// Whatever was recorded is there after the server was killed.
func TestKilledWhileItWrites(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for round := range 5 {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), writerDir+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		last := ""
		for lines := bufio.NewScanner(out); lines.Scan(); {
			last = lines.Text()
			if last == fmt.Sprint(20+round*7) {
				_ = cmd.Process.Kill()
			}
		}
		_ = cmd.Wait()
		s := openIn(t, dir, 1<<30)
		_, status := found(t, s, "ada", last)
		text, err := s.Protocol(t.Context(), status.UID)
		if err != nil || string(text) != last {
			t.Errorf("job %s: %q, %v", last, text, err)
		}
		if _, err := s.Find(t.Context(), pai.JobRef{User: "ada", Name: "0"}); err != nil {
			t.Error(err)
		}
		_ = s.Close()
	}
}

// lockerFile is the variable that makes this program try to lock a database.
const lockerFile = "PAI_TEST_HISTORY_LOCKER"

// tryLock prints whether another process has locked a database. SQLite locks these bytes
// of a file that it has open.
func tryLock(name string) {
	const first, bytes = 0x40000002, 510
	file, err := os.OpenFile(name, os.O_RDWR, 0)
	if err == nil {
		err = syscall.FcntlFlock(file.Fd(), syscall.F_SETLK, &syscall.Flock_t{Type: syscall.F_WRLCK, Start: first, Len: bytes})
	}
	switch {
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.EACCES):
		fmt.Print("locked")
	case err != nil:
		fmt.Print(err)
	default:
		fmt.Print("free")
	}
	os.Exit(0)
}

// A database that is opened again keeps the locks of connections that it already has.
// Without them, another server takes it for its own and deletes what they write.
func TestOpenAgainKeepsLocks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	elsewhere := func() string {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), lockerFile+"="+filepath.Join(dir, SQLiteFile))
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	first := openIn(t, dir, 1<<30)
	put(t, first, Record{Status: some("u1", "ada", "train")})
	if got := elsewhere(); got != "locked" {
		t.Fatalf("an open database is %s", got)
	}
	second := openIn(t, dir, 1<<30)
	if got := elsewhere(); got != "locked" {
		t.Errorf("after it was opened again it is %s", got)
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	if got := elsewhere(); got != "locked" {
		t.Errorf("after one of two was closed it is %s", got)
	}
}
