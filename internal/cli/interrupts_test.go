package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"pai.dev/pai/internal/cli/ui"
)

func sendSelf(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(os.Getpid(), s); err != nil {
		t.Fatal(err)
	}
}

func closed(c <-chan struct{}, within time.Duration) bool {
	select {
	case <-c:
	case <-time.After(within):
	}
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestInterrupts(t *testing.T) {
	for _, c := range []struct {
		name          string
		signals       []syscall.Signal
		stops, cancel bool
	}{
		{"Ctrl-C", []syscall.Signal{syscall.SIGINT}, true, false},
		{"Ctrl-C twice", []syscall.Signal{syscall.SIGINT, syscall.SIGINT}, true, true},
		{"the terminal was closed", []syscall.Signal{syscall.SIGHUP}, true, false},
		{"the terminal was closed, also for another process", []syscall.Signal{syscall.SIGHUP, syscall.SIGHUP}, true, false},
		{"Ctrl-C after the terminal was closed", []syscall.Signal{syscall.SIGHUP, syscall.SIGINT}, true, true},
		{"terminated", []syscall.Signal{syscall.SIGTERM}, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, safeStop, release := interruptsAnd(t.Context(), &Env{Console: ui.Console{Err: io.Discard}}, true)
			defer release()
			for i, s := range c.signals {
				sendSelf(t, s)
				if i == 0 && c.stops && !closed(safeStop, 10*time.Second) {
					t.Fatal("no stop at the next safe point")
				}
			}
			wait := 100 * time.Millisecond
			if c.cancel {
				wait = 10 * time.Second
			}
			if got := closed(ctx.Done(), wait); got != c.cancel {
				t.Errorf("canceled: %t, want %t", got, c.cancel)
			}
			if got := closed(safeStop, 0); got != c.stops {
				t.Errorf("stops at the next safe point: %t, want %t", got, c.stops)
			}
		})
	}
}

// TestOperationOutlivesItsReader runs this test program as an operation whose output has
// no reader, and which is started by nohup.
func TestOperationOutlivesItsReader(t *testing.T) {
	const marker = "PAI_TEST_OPERATION"
	if os.Getenv(marker) == "" {
		read, write, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer write.Close()
		read.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, "sh", "-c", `trap "" HUP; exec "$0" -test.run='^TestOperationOutlivesItsReader$'`, os.Args[0])
		cmd.Env = append(os.Environ(), marker+"=1")
		cmd.Stdout, cmd.Stderr = write, write
		if err := cmd.Run(); cmd.ProcessState.ExitCode() != 7 {
			t.Errorf("the operation ended with %v, want exit code 7 of its end", err)
		}
		return
	}
	ctx, safeStop, release := interrupts(t.Context(), &Env{Console: ui.Console{Err: io.Discard}})
	defer release()
	if _, err := fmt.Fprintln(os.Stdout, "a step started"); err == nil {
		os.Exit(1) // the pipe has a reader
	}
	_, _ = fmt.Fprintln(os.Stderr, "a line of progress") // would end the process
	sendSelf(t, syscall.SIGHUP)
	if closed(safeStop, 200*time.Millisecond) || ctx.Err() != nil {
		os.Exit(2)
	}
	os.Exit(7)
}
