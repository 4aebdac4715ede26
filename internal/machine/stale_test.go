package machine_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"

	"pai.dev/pai/internal/fence"
	"pai.dev/pai/internal/machine"
)

// The next holder of the lock ends what an earlier one left running, and nothing else.
func TestEndStaleEndsCommandsOfTheToken(t *testing.T) {
	t.Parallel()
	sshd := startSSHD(t)
	started := func(ctx context.Context) (pid int, done chan error) {
		t.Helper()
		lines, out := io.Pipe()
		done = make(chan error, 1)
		host := sshd.dial(t)
		go func() {
			_, err := host.Run(ctx, machine.Command{Script: "echo $$; sleep 1000", Stdout: out})
			done <- err
		}()
		if _, err := fmt.Fscan(lines, &pid); err != nil {
			t.Fatal(err)
		}
		return pid, done
	}
	token := func(name string) context.Context {
		return fence.With(t.Context(), fence.Fence{Token: name + filepath.Base(t.TempDir()) + fmt.Sprint(os.Getpid()), Held: func() error { return nil }})
	}
	previous, current := token("PREVIOUS"), token("CURRENT")
	stale, ended := started(previous)
	kept, _ := started(current)
	free, _ := started(t.Context())
	if err := machine.EndStale(t.Context(), sshd.dial(t), []string{"NOBODYHASIT", fence.Token(previous)}); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Error("the command of the previous holder ended without an error")
	}
	if running(stale) || !running(kept) || !running(free) {
		t.Errorf("got running %v, %v, and %v, want only the command of the previous holder ended", running(stale), running(kept), running(free))
	}
}

// A command that the kernel lets end later, as one that syncs a disk, is waited for. It is
// a shell here that ignores the signal.
func TestEndStaleWaitsForSlowCommands(t *testing.T) {
	t.Parallel()
	token := rand.Text()
	slow := exec.CommandContext(t.Context(), "sh", "-c", "trap '' TERM; echo; sleep 11", "pai-x-"+token)
	out, err := slow.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := slow.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- slow.Wait() }()
	if err := machine.EndStale(t.Context(), startSSHD(t).dial(t), []string{token}); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// Tokens come from a file on a machine, which can hold anything: a script, or a pattern. The
// pattern matches only the command of this test.
func TestOnlyTokensBecomePartOfTheScript(t *testing.T) {
	t.Parallel()
	sshd := startSSHD(t)
	host, file := sshd.dial(t), filepath.Join(t.TempDir(), "file")
	token := rand.Text()
	ctx := fence.With(t.Context(), fence.Fence{Token: token, Held: func() error { return nil }})
	lines, out := io.Pipe()
	go func() { _, _ = host.Run(ctx, machine.Command{Script: "echo $$; sleep 1000", Stdout: out}) }()
	var pid int
	if _, err := fmt.Fscan(lines, &pid); err != nil {
		t.Fatal(err)
	}
	for _, hostile := range []string{"", token[:9] + "." + token[10:], "A' /dev/null || touch " + file + "; '"} {
		if err := machine.EndStale(t.Context(), sshd.dial(t), []string{hostile}); err != nil {
			t.Errorf("%q: %v", hostile, err)
		}
	}
	if _, err := os.Stat(file); err == nil || !running(pid) {
		t.Errorf("a token ran as a part of a script: %v, or ended another command: %v", err == nil, !running(pid))
	}
}

// A process that loses the lock while it waits for a session starts no command.
func TestCommandsThatWaitNeedTheLock(t *testing.T) {
	t.Parallel()
	host := startSSHD(t).dial(t)
	lost, asked := errors.New("the lock is lost"), 0
	ctx := fence.With(t.Context(), fence.Fence{Token: "TOKEN", Held: func() error {
		if asked++; asked > 1 {
			return lost
		}
		return nil
	}})
	file := filepath.Join(t.TempDir(), "file")
	if _, err := host.Run(ctx, machine.Command{Script: "touch " + file}); !errors.Is(err, lost) {
		t.Errorf("got %v, want %v", err, lost)
	}
	if _, err := os.Stat(file); err == nil || asked < 2 {
		t.Errorf("the lock was asked for %d times, and the file is there: %v", asked, err == nil)
	}
}

// A process that has lost the lock starts no command, whatever its context says.
func TestCommandsNeedTheLock(t *testing.T) {
	t.Parallel()
	host := startSSHD(t).dial(t)
	lost := errors.New("the lock is lost")
	ctx := fence.With(t.Context(), fence.Fence{Token: "TOKEN", Held: func() error { return lost }})
	file := filepath.Join(t.TempDir(), "file")
	for name, change := range map[string]func() error{
		"run":    func() error { _, err := host.Run(ctx, machine.Command{Script: "touch " + file}); return err },
		"write":  func() error { return host.WriteFile(ctx, file, nil, 0o600) },
		"create": func() error { return host.CreateFile(ctx, file, nil, 0o600) },
		"append": func() error { return host.AppendFile(ctx, file, []byte("x")) },
	} {
		if err := change(); !errors.Is(err, lost) {
			t.Errorf("%s: got %v, want %v", name, err, lost)
		}
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("a file was written without the lock")
	}
}

// The lock learns of a command that might still run: one whose connection was lost, and of
// no other.
func TestLostCommandMightStillRun(t *testing.T) {
	t.Parallel()
	sshd := startSSHD(t)
	host := sshd.dial(t)
	var unended atomic.Int32
	locked := fence.With(t.Context(), fence.Fence{Token: rand.Text(), Held: func() error { return nil }, Unended: func() { unended.Add(1) }})
	run := func(ctx context.Context, stop func(cancel func())) {
		t.Helper()
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		lines, out := io.Pipe()
		done := make(chan error, 1)
		go func() {
			_, err := host.Run(ctx, machine.Command{Script: "echo started; sleep 1000", Stdout: out})
			done <- err
		}()
		if _, err := fmt.Fscanln(lines, new(string)); err != nil {
			t.Fatal(err)
		}
		stop(cancel)
		if err := <-done; err == nil {
			t.Fatal("the command ended without an error")
		}
	}
	for _, script := range []string{"true", "exit 3", "kill -9 $$"} {
		_, _ = host.Run(locked, machine.Command{Script: script}) // that it ended is what counts
	}
	run(locked, func(cancel func()) { cancel() })
	if n := unended.Load(); n != 0 {
		t.Errorf("%d commands that ended might still run", n)
	}
	kill := func(func()) { sshd.killConnections(t) }
	run(locked, kill)
	if n := unended.Load(); n != 1 {
		t.Errorf("got %d, want the command whose connection was lost", n)
	}
	run(fence.Without(locked), kill)
	if n := unended.Load(); n != 1 {
		t.Error("a command without a token counts, which no holder could end")
	}
}
