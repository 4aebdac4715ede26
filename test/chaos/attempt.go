package chaos

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Attempt is one running `upgrade apply`, or `upgrade rollback`.
type Attempt struct {
	// Events are the steps' starts and ends, as paictl prints them; closed when
	// it has ended.
	Events chan Event

	cmd   *exec.Cmd
	ended chan struct{}

	mu     sync.Mutex
	stderr []string
	err    error
}

// Event is what paictl prints when a step begins or ends.
type Event struct {
	Kind string `json:"kind"` // step-started, step-ended, stopping
	Step struct {
		ID string `json:"id"`
	} `json:"step"`
	Outcome string `json:"outcome"`
}

// attemptLimit ends an attempt that hangs.
const attemptLimit = 8 * time.Minute

// apply starts or resumes the upgrade: the command is the same.
func (c *Cluster) apply(ctx context.Context) (*Attempt, error) {
	return c.attempt(ctx, "apply", "--to", To)
}

// attempt starts a command of upgrade.
func (c *Cluster) attempt(ctx context.Context, args ...string) (*Attempt, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptLimit)
	a := &Attempt{Events: make(chan Event, 1000), ended: make(chan struct{})}
	a.cmd = c.command(ctx, append(append([]string{"upgrade"}, args...), "--yes", "-o", "json")...)
	a.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // our Ctrl-C must not reach it
	stdout, err := a.cmd.StdoutPipe()                       // the events
	if err != nil {
		cancel()
		return nil, err
	}
	stderr, err := a.cmd.StderrPipe()
	if err != nil {
		cancel()
		return nil, err
	}
	if err := a.cmd.Start(); err != nil {
		cancel()
		return nil, err
	}
	go func() {
		defer cancel()
		var read sync.WaitGroup
		errs := make([]error, 2)
		for i, from := range []io.Reader{stdout, stderr} {
			read.Go(func() {
				lines := bufio.NewScanner(from)
				lines.Buffer(nil, 16<<20)
				for lines.Scan() {
					a.line(lines.Text())
				}
				errs[i] = lines.Err()
			})
		}
		read.Wait()
		a.err = errors.Join(errors.Join(errs...), a.cmd.Wait())
		close(a.Events)
		close(a.ended)
	}()
	return a, nil
}

func (a *Attempt) line(text string) {
	var e Event
	if json.Unmarshal([]byte(text), &e) == nil && e.Kind != "" {
		if e.Step.ID != "" || e.Kind == "stopping" { // the plan, the witness and the record are others' business
			a.Events <- e
		}
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stderr = append(a.stderr, text)
}

// Kill ends paictl at once.
func (a *Attempt) Kill() { _ = a.cmd.Process.Kill() }

// Interrupt is a Ctrl-C.
func (a *Attempt) Interrupt() { _ = a.cmd.Process.Signal(os.Interrupt) }

// interruptTwice is a Ctrl-C, and another one that asks for more.
func (a *Attempt) interruptTwice() {
	a.Interrupt()
	a.within(300 * time.Millisecond)
	a.Interrupt()
}

// Wait waits until paictl has ended, and returns its exit code; -1 when it was
// killed.
func (a *Attempt) Wait() int {
	<-a.ended
	return a.cmd.ProcessState.ExitCode()
}

// Said is the end of what paictl said, besides events.
func (a *Attempt) Said() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return strings.Join(a.stderr[max(0, len(a.stderr)-12):], "\n")
}

// until waits for an event; false when paictl ended before.
func (a *Attempt) until(wanted func(Event) bool) bool {
	for e := range a.Events {
		if wanted(e) {
			return true
		}
	}
	return false
}

// within waits for a time; false when paictl ended before.
func (a *Attempt) within(d time.Duration) bool {
	select {
	case <-a.ended:
		return false
	default:
	}
	select {
	case <-a.ended:
		return false
	case <-time.After(d):
		return true
	}
}

// endedWithin waits for a time, and reports whether a step ended meanwhile, or
// paictl did.
func (a *Attempt) endedWithin(id string, d time.Duration) bool {
	over := time.After(d)
	for {
		select {
		case e, ok := <-a.Events:
			if !ok || e.Kind == "step-ended" && e.Step.ID == id {
				return true
			}
		case <-over:
			return false
		}
	}
}

// started waits until a step begins whose id ends with one of the names; with
// none, until any does.
func (a *Attempt) started(names ...string) (string, bool) {
	var id string
	ok := a.until(func(e Event) bool {
		id = e.Step.ID
		if e.Kind != "step-started" {
			return false
		}
		for _, n := range names {
			if strings.HasSuffix(e.Step.ID, n) {
				return true
			}
		}
		return len(names) == 0
	})
	return id, ok
}

// done reports whether a step that has ended did what it was for.
func (e Event) done() bool { return e.Outcome == "succeeded" || e.Outcome == "skipped" }
