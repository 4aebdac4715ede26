//go:build e2e

// Package e2e runs the real paictl on real local machines with a real
// Kubernetes. It sees PAI as an operator does: through the program alone, and
// checks what the program says against what the machines and the API say.
package e2e

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// paictl is the program, built once for all tests.
var paictl string

func TestMain(m *testing.M) {
	code, err := runTests(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		os.Exit(1)
	}
	os.Exit(code)
}

func runTests(m *testing.M) (int, error) {
	dir, err := os.MkdirTemp("", "pai-e2e-bin-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	paictl = filepath.Join(dir, "paictl")
	build := exec.Command("hack/build.sh", paictl)
	build.Dir = repository()
	if out, err := build.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("build paictl: %w\n%s", err, out)
	}
	return m.Run(), nil
}

func repository() string {
	dir, err := filepath.Abs("../..")
	if err != nil {
		panic(err)
	}
	return dir
}

// operator is one person's side of PAI: its own state directory, so that
// tests do not meet each other or the demo. The cache is shared on purpose.
type operator struct {
	t     *testing.T
	state string
	// program and cache are those of this operator; empty for the common ones.
	program, cache string
}

// newOperator gives a test its own state directory under a fixed name, so that
// what a killed run left behind is cleared by the next one, and takes
// everything down at the end.
func newOperator(t *testing.T, name string) *operator {
	t.Helper()
	o := &operator{t: t, state: filepath.Join(os.TempDir(), "pai-e2e-"+name)}
	o.down()
	t.Cleanup(func() {
		if t.Failed() {
			o.saveLogs()
		}
		o.down()
	})
	return o
}

func (o *operator) down() {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if _, err := o.try(ctx, nil, "down", "--yes"); err != nil {
		o.t.Fatalf("clear the remains of an earlier run: %v", err)
	}
}

// saveLogs shows what the machines logged last, while they still exist.
func (o *operator) saveLogs() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, name := range o.machines() {
		out, err := o.try(ctx, nil, "machine", "shell", name, "--",
			"systemctl --failed --no-legend; for u in $(ls /etc/systemd/system | grep ^pai-); do echo \"== $u\"; journalctl -u $u -n 15 --no-pager -o cat; done; ls /var/log/pods")
		o.t.Logf("%s (error %v):\n%s", name, err, out)
	}
	if out, err := o.try(ctx, nil, "cluster", "status"); err == nil {
		o.t.Logf("status:\n%s", out)
	}
}

func (o *operator) machines() []string {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	out, err := o.try(ctx, nil, "machine", "list", "-o", "json")
	if err != nil {
		return nil
	}
	var list []struct{ Name string }
	if json.Unmarshal([]byte(out), &list) != nil {
		return nil
	}
	var names []string
	for _, m := range list {
		names = append(names, m.Name)
	}
	return names
}

func (o *operator) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, cmp.Or(o.program, paictl), args...)
	cmd.Dir = repository()
	cmd.Env = append(os.Environ(), "PAI_STATE_DIR="+o.state)
	if o.cache != "" {
		cmd.Env = append(cmd.Env, "PAI_CACHE_DIR="+o.cache)
	}
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// try runs paictl and returns its standard output; an error carries standard error.
func (o *operator) try(ctx context.Context, stdin io.Reader, args ...string) (string, error) {
	cmd := o.command(ctx, args...)
	cmd.Stdin = stdin
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("paictl %s: %w\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return stdout.String(), nil
}

// part is a subtest of the same operator: a failure ends the subtest alone.
func (o *operator) part(name string, f func(o *operator)) bool {
	return o.t.Run(name, func(t *testing.T) {
		t.Helper()
		inner := *o
		inner.t = t
		f(&inner)
	})
}

// refused wants a command to end with an exit code, and returns its error.
func (o *operator) refused(code int, args ...string) error {
	o.t.Helper()
	return o.refusedWithin(3*time.Minute, code, args...)
}

// refusedWithin is refused for a command that can take longer.
func (o *operator) refusedWithin(limit time.Duration, code int, args ...string) error {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	out, err := o.try(ctx, nil, args...)
	if got := exitCode(err); got != code {
		o.t.Fatalf("paictl %s: got exit code %d, want %d: %v\n%s", strings.Join(args, " "), got, code, err, out)
	}
	return err
}

// run is try for commands that must succeed; its limit is generous, and only
// ends what hangs.
func (o *operator) run(limit time.Duration, args ...string) string {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	start := time.Now()
	out, err := o.try(ctx, nil, args...)
	if err != nil {
		o.t.Fatalf("%v\n%s", err, out)
	}
	o.t.Logf("paictl %s: %.1f s", strings.Join(args, " "), time.Since(start).Seconds())
	return out
}

// json runs a command with -o json and reads what it prints.
func (o *operator) json(into any, args ...string) {
	o.t.Helper()
	out := o.run(time.Minute, append(args, "-o", "json")...)
	if err := json.Unmarshal([]byte(out), into); err != nil {
		o.t.Fatalf("paictl %s -o json: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// on runs a script on a machine and returns what it prints.
func (o *operator) on(machine, script string) string {
	o.t.Helper()
	return o.run(time.Minute, "machine", "shell", machine, "--", script)
}

// eventually polls until ok, and fails with the last thing that was seen.
func (o *operator) eventually(limit time.Duration, what string, ok func() (bool, string)) {
	o.t.Helper()
	deadline := time.Now().Add(limit)
	for {
		done, seen := ok()
		if done {
			return
		}
		if time.Now().After(deadline) {
			o.t.Fatalf("%s: not within %s; last seen: %s", what, limit, seen)
		}
		time.Sleep(500 * time.Millisecond)
	}
}

// inTestAll skips a test that make test has no time for.
func inTestAll(t *testing.T, why string) {
	t.Helper()
	if !testsAll() {
		t.Skip(why + "; make test-all runs it")
	}
}

// testsAll reports whether make test-all, or make e2e with a name, runs the tests.
func testsAll() bool { return os.Getenv("PAI_TEST_ALL") != "" }
