package history

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// serverOfTests is a server of PostgreSQL that all tests share. Each has a new database.
var serverOfTests struct {
	once      sync.Once
	err       error
	stop      func()
	dir       string
	databases atomic.Int32
}

func TestMain(m *testing.M) {
	if dir := os.Getenv(writerDir); dir != "" {
		writeUntilKilled(dir)
	}
	if file := os.Getenv(lockerFile); file != "" {
		tryLock(file)
	}
	code := m.Run()
	if serverOfTests.stop != nil {
		serverOfTests.stop()
	}
	os.Exit(code)
}

var errNotInstalled = errors.New("PostgreSQL is not installed; run: hack/deps.sh")

// newDatabase returns the connection string of an empty database.
func newDatabase(t testing.TB) string {
	t.Helper()
	s := &serverOfTests
	s.once.Do(func() { s.dir, s.stop, s.err = startPostgreSQL() })
	if errors.Is(s.err, errNotInstalled) && os.Getenv("PAI_TEST_ALL") == "" {
		t.Skip(s.err)
	}
	if s.err != nil {
		t.Fatal(s.err)
	}
	name := fmt.Sprintf("test%d", s.databases.Add(1))
	store, err := openPostgreSQL(t, connectionTo("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	if _, err := store.db.ExecContext(t.Context(), "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	return connectionTo(name)
}

// openPostgreSQL opens a database. A server of a busy host can take longer to accept a
// connection than users wait.
func openPostgreSQL(t testing.TB, connection string) (s *Store, err error) {
	t.Helper()
	for range 10 {
		s, err = OpenPostgreSQL(t.Context(), connection)
		if _, late := errors.AsType[*pgconn.ConnectError](err); !late {
			return s, err
		}
	}
	return s, err
}

func connectionTo(database string) string {
	return fmt.Sprintf("host=%s user=postgres dbname=%s", serverOfTests.dir, database)
}

// startPostgreSQL starts a server that listens on a socket in its directory. It refuses
// to run as root, as Debian's does.
func startPostgreSQL() (dir string, stop func(), err error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	if len(found) == 0 {
		return "", nil, errNotInstalled
	}
	programs := found[len(found)-1]
	if dir, err = os.MkdirTemp("", "pai-history-*"); err != nil {
		return "", nil, err
	}
	attributes := &syscall.SysProcAttr{Pdeathsig: syscall.SIGQUIT} // a test that is killed leaves no server
	if os.Geteuid() == 0 {
		if attributes.Credential, err = ownedBy(dir, "postgres"); err != nil {
			return "", nil, err
		}
	}
	data := filepath.Join(dir, "data")
	command := func(ctx context.Context, name string, args ...string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, filepath.Join(programs, name), args...)
		cmd.SysProcAttr, cmd.Dir, cmd.Env = attributes, dir, []string{"LC_ALL=C.UTF-8", "PATH=" + os.Getenv("PATH")}
		return cmd
	}
	ctx := context.Background()
	if out, err := command(ctx, "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync").CombinedOutput(); err != nil {
		return "", nil, fmt.Errorf("initdb: %w: %s", err, out)
	}
	var log strings.Builder
	server := command(ctx, "postgres", "-D", data, "-k", dir, "-c", "listen_addresses=", "-c", "fsync=off")
	server.Stderr = &log
	if err := server.Start(); err != nil {
		return "", nil, err
	}
	stop = func() {
		_ = server.Process.Signal(syscall.SIGQUIT)
		_ = server.Wait()
		_ = os.RemoveAll(dir)
	}
	for range 600 {
		if command(ctx, "pg_isready", "-q", "-h", dir).Run() == nil { // it has its socket before it accepts connections
			return dir, stop, nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	stop()
	return "", nil, fmt.Errorf("the server of PostgreSQL did not start: %s", log.String())
}

// ownedBy makes a directory belong to a user.
func ownedBy(dir, name string) (*syscall.Credential, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return nil, err
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(err1, err2, os.Chown(dir, int(uid), int(gid))); err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}

// The connection string has a password, and no error has it.
func TestPasswordIsInNoError(t *testing.T) {
	t.Parallel()
	for _, connection := range []string{
		"", "postgres://pai:s3cret@127.0.0.1:1/history", "postgres://pai:s3cret@127.0.0.1:x/history", "host=127.0.0.1 port=1 password=s3cret dbname=",
		"postgres://pai:s3cret@[/history", "s3cret",
	} {
		_, err := OpenPostgreSQL(t.Context(), connection)
		if err == nil || strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err.Error()), "s3cret") {
			t.Errorf("%s: %v", connection, err)
		}
	}
}
