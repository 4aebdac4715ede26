// Package s3test runs versitygw, a server of S3, for tests. It may be imported by tests
// only.
package s3test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pai.dev/pai/internal/poll"
	"pai.dev/pai/test/freeport"
)

// The key of the server, and a bucket that it has.
const (
	Key    = "operator"
	Secret = "the-secret-of-the-operator"
	Bucket = "backups"
)

// startLimit is how long the server takes to start, and its program to be compiled: minutes
// with an empty cache.
const startLimit = 15 * time.Minute

// Server is an S3 server on this host.
type Server struct {
	// URL is its endpoint.
	URL string
	// Dir has the objects of Bucket as files, with their keys as paths.
	Dir string
}

// Start starts a server, which ends with the test. cert and key are PEM files; without
// them it does not speak TLS. The address is of 127.0.0.1 unless one is given.
func Start(t testing.TB, cert, key, address string) Server {
	t.Helper()
	if address == "" {
		address = "127.0.0.1"
	}
	root := t.TempDir()
	s := Server{Dir: filepath.Join(root, "data", Bucket)}
	for _, dir := range []string{s.Dir, filepath.Join(root, "meta")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), startLimit)
	defer cancel()
	listen := net.JoinHostPort(address, fmt.Sprint(freeport.Get(t)))
	args := []string{"--quiet", "--port", listen}
	s.URL = "http://" + listen
	if cert != "" {
		args, s.URL = append(args, "--cert", cert, "--key", key), "https://"+listen
	}
	args = append(args, "posix", "--sidecar", filepath.Join(root, "meta"), filepath.Join(root, "data"))
	output, err := os.Create(filepath.Join(root, "output"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program(ctx, t), args...) //nolint:noctx // it ends with the test, not with the start
	cmd.Stdout, cmd.Stderr = output, output
	cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY_ID="+Key, "ROOT_SECRET_ACCESS_KEY="+Secret)
	if err := cmd.Start(); err != nil {
		t.Fatalf("start the S3 server: %v", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it can have ended
		_ = cmd.Wait()         // killed
		_ = output.Close()     // only its writer matters
	})
	for {
		connection, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", listen)
		if err == nil {
			_ = connection.Close() // nothing was sent
			return s
		}
		if err := poll.Sleep(ctx, 20*time.Millisecond); err != nil {
			said, _ := os.ReadFile(output.Name())
			t.Fatalf("the S3 server does not listen at %s: %v\n%s", listen, err, said)
		}
	}
}

// program is the path of the server in the cache of Go. It is compiled if it is not there.
func program(ctx context.Context, t testing.TB) string {
	t.Helper()
	cmd := exec.CommandContext(ctx, "go", "tool", "-modfile=tools/versitygw.mod", "-n", "versitygw")
	cmd.Dir = root(t)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("compile the S3 server: %v\n%s", err, errs.String())
	}
	return strings.TrimSpace(string(out))
}

// root is the directory of the module, above that of the test.
func root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "tools", "versitygw.mod")); err == nil {
			return dir
		}
		if filepath.Dir(dir) == dir {
			t.Fatal("no directory above the test has tools/versitygw.mod")
		}
		dir = filepath.Dir(dir)
	}
}
