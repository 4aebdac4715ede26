package guard

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"pai.dev/pai/internal/observe/running"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// lateDevices is a busy machine whose device plugin registers again at ready.
type lateDevices struct {
	ready time.Time
	also  func(f *Facts)
	calls *int
}

func (l lateDevices) Jobs(context.Context) Fact[[]pai.Job]           { return busy().Jobs }
func (l lateDevices) JobsOn(context.Context, string) Fact[[]pai.Job] { return busy().Jobs }
func (l lateDevices) Queued(context.Context) Fact[[]pai.JobRef] {
	return Known([]pai.JobRef(nil))
}
func (l lateDevices) Containers(context.Context, string) Fact[[]running.Container] {
	return busy().Containers
}
func (l lateDevices) Kubelets(context.Context) Fact[map[string]string] {
	return Known(map[string]string{})
}
func (l lateDevices) Voters(context.Context, plan.Step) Fact[Voters] { return Known(Voters{}) }
func (l lateDevices) Machine(context.Context, plan.Step) Facts {
	*l.calls++
	f := busy()
	if time.Now().Before(l.ready) {
		delete(node(&f).Status.Allocatable, gpus)
	}
	l.also(&f)
	return f
}

// The guard waits for a device plugin to register again, but only for a limited
// time, and not if another rule is violated.
func TestGuardRetriesTransientViolation(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		after time.Duration
		also  func(f *Facts)
		want  Verdict
		once  bool
	}{
		"devices present":      {0, func(*Facts) {}, Go, true},
		"devices after 5 s":    {5 * time.Second, func(*Facts) {}, Go, false},
		"no devices":           {time.Hour, func(*Facts) {}, Wait, false},
		"runtime down as well": {5 * time.Second, func(f *Facts) { f.RuntimeUp = Known(false) }, Wait, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls := 0
				g, err := New(lateDevices{time.Now().Add(test.after), test.also, &calls}, nil, nil)
				if err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				if d := g.Decide(t.Context(), kubeletStep()); d.Verdict != test.want {
					t.Errorf("got %s (%s), want %s", d.Verdict, d.Reason, test.want)
				}
				if test.once != (calls == 1) || time.Since(start) > transientTimeout+transientInterval {
					t.Errorf("got %d observations in %s", calls, time.Since(start))
				}
			})
		})
	}
}

// Accepted eviction does not end jobs for a violation that disappears by itself.
func TestGuardRetriesTransientViolationBeforeEviction(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		after time.Duration
		also  func(f *Facts)
		evict bool
		once  bool
	}{
		"devices after 5 s":    {5 * time.Second, func(*Facts) {}, false, false},
		"no devices":           {time.Hour, func(*Facts) {}, true, false},
		"runtime down as well": {5 * time.Second, func(f *Facts) { f.RuntimeUp = Known(false) }, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls := 0
				g, err := New(lateDevices{time.Now().Add(test.after), test.also, &calls}, nil, []string{AcceptEvict(gpu01)})
				if err != nil {
					t.Fatal(err)
				}
				if d := g.Decide(t.Context(), kubeletStep()); d.Verdict != Go || d.NeedsEviction != test.evict {
					t.Errorf("got %s, NeedsEviction %v (%s); want go, NeedsEviction %v", d.Verdict, d.NeedsEviction, d.Reason, test.evict)
				}
				if test.once != (calls == 1) {
					t.Errorf("got %d observations", calls)
				}
			})
		})
	}
}
