package operation

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"pai.dev/pai/internal/guard"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

func TestWaiterAsksUntilAMachineIsIdle(t *testing.T) {
	t.Parallel()
	f := &field{by: map[string]string{}, jobs: map[string][]pai.JobRef{"a": {train}, "b": {train}}}
	var lines []string
	w := waiter{steps: []plan.Step{kubeletOf("a"), kubeletOf("b")}, decide: f.decide(), every: time.Millisecond,
		end: time.Now().Add(time.Minute), noticef: func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }}
	questions := 0
	w.decide = func(ctx context.Context, s plan.Step) guard.Decision {
		if questions++; questions == 10 {
			delete(f.jobs, "b")
		}
		return f.decide()(ctx, s)
	}
	if err := w.await(t.Context()); err != nil || len(lines) != 2 || !strings.Contains(lines[0], "a waits for ada~train; b waits for ada~train") || !strings.Contains(lines[1], "b no longer waits") {
		t.Errorf("got lines %q, error %v", lines, err)
	}
	f.jobs = map[string][]pai.JobRef{"a": {train}, "b": {train}}
	w.decide, w.end = f.decide(), time.Now().Add(20*time.Millisecond)
	if err := w.await(t.Context()); err == nil || pai.CodeOf(err) != pai.CodeWaiting || !strings.Contains(err.Error(), "ada~train") {
		t.Errorf("after the deadline: got %v", err)
	}
	stop := make(chan struct{})
	close(stop)
	w.stop, w.end = stop, time.Now().Add(time.Minute)
	w.every = time.Minute
	if err := w.await(t.Context()); pai.CodeOf(err) != pai.CodeInterrupted {
		t.Errorf("stopped: got %v", err)
	}
}
