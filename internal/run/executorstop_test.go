package run

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

func TestExecutorStopLeavesRemainingSteps(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		// run executes the plan; started is closed when step b has started. Step
		// b ends with its context, or after a while.
		run      func(e Executor, started <-chan struct{}, p plan.Plan) Result
		want     string
		code     pai.Code
		contains string
	}{
		{"at the next safe point", func(e Executor, started <-chan struct{}, p plan.Plan) Result {
			stop := make(chan struct{})
			e.Stop = stop
			go func() { <-started; close(stop) }()
			return e.Run(context.Background(), p)
		}, "a:succeeded b:succeeded c:stopped d:stopped", pai.CodeInterrupted, "2 of 4 steps left"},
		{"now", func(e Executor, started <-chan struct{}, p plan.Plan) Result {
			ctx, cancel := context.WithCancel(context.Background())
			go func() { <-started; cancel() }()
			return e.Run(ctx, p)
		}, "a:succeeded b:stopped c:stopped d:stopped", pai.CodeInterrupted, "3 of 4 steps left"},
		{"because a job was interrupted", func(e Executor, started <-chan struct{}, p plan.Plan) Result {
			e.Halt = func() error {
				select {
				case <-started:
					return pai.Errorf(pai.CodeFailed, "", "job ann~llama was interrupted")
				default:
					return nil
				}
			}
			return e.Run(context.Background(), p)
		}, "a:succeeded b:succeeded c:stopped d:stopped", pai.CodeFailed, "ann~llama"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { // in which a busy host cannot use up the deadlines
				w, started := newWorld(), make(chan struct{})
				w.do = func(ctx context.Context, s plan.Step) error {
					if s.ID != "b" {
						return nil
					}
					close(started)
					select {
					case <-ctx.Done():
						return ctx.Err()
					case <-time.After(100 * time.Millisecond):
						return nil
					}
				}
				res := c.run(executor(w), started, chain("a", "b", "c", "d"))
				if got := outcomes(res); got != c.want || res.Outcome != pai.OutcomeStopped {
					t.Errorf("got %s, outcome %s, want %s", got, res.Outcome, c.want)
				}
				if err := res.Err(); pai.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.contains) {
					t.Errorf("error %v with code %s, want code %s and %q", err, pai.CodeOf(err), c.code, c.contains)
				}
			})
		})
	}
}

func TestExecutorRefusedStepBlocksDependents(t *testing.T) {
	t.Parallel()
	w := newWorld()
	e := executor(w)
	e.Admit = func(_ context.Context, s plan.Step) ([]pai.JobRef, error) {
		if s.ID == "b" {
			return nil, errors.New("job ann~llama runs there")
		}
		return nil, nil
	}
	p := chain("a", "b", "c")
	p.Steps = append(p.Steps, plan.Step{ID: "other", Kind: testKind, Risk: pai.RiskNone})
	res := e.Run(context.Background(), p)
	if got, want := outcomes(res), "a:succeeded b:refused c:blocked other:succeeded"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if err := res.Err(); pai.CodeOf(err) != pai.CodeRefused || !strings.Contains(err.Error(), "ann~llama") {
		t.Errorf("error %v with code %s", err, pai.CodeOf(err))
	}
	if res.Steps[2].Error != "waits for b" {
		t.Errorf("c says %q", res.Steps[2].Error)
	}
}

// A halt while the guard waits prevents the start of the step.
func TestExecutorHaltDuringAdmissionStartsNoStep(t *testing.T) {
	t.Parallel()
	w := newWorld()
	e := executor(w)
	var halt atomic.Bool
	e.Admit = func(context.Context, plan.Step) ([]pai.JobRef, error) { halt.Store(true); return nil, nil }
	e.Halt = func() error {
		if halt.Load() {
			return errors.New("lock lost")
		}
		return nil
	}
	res := e.Run(context.Background(), chain("a"))
	if len(w.calls()) > 0 || outcomes(res) != "a:stopped" || pai.CodeOf(res.Err()) != pai.CodeFailed {
		t.Errorf("%s, %d calls of Do, error %v", outcomes(res), len(w.calls()), res.Err())
	}
}
