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

// factsLater are a busy machine whose devices are offered again after a while.
type factsLater struct {
	back  time.Time
	also  func(f *Facts)
	asked *int
}

func (l factsLater) Jobs(context.Context) Fact[[]pai.Job]           { return busy().Jobs }
func (l factsLater) JobsOn(context.Context, string) Fact[[]pai.Job] { return busy().Jobs }
func (l factsLater) Queued(context.Context) Fact[[]pai.JobRef] {
	return Known([]pai.JobRef(nil))
}
func (l factsLater) Containers(context.Context, string) Fact[[]running.Container] {
	return busy().Containers
}
func (l factsLater) Kubelets(context.Context) Fact[map[string]string] {
	return Known(map[string]string{})
}
func (l factsLater) Machine(context.Context, plan.Step) Facts {
	*l.asked++
	f := busy()
	if time.Now().Before(l.back) {
		delete(node(&f).Status.Allocatable, gpus)
	}
	l.also(&f)
	return f
}

// A device plugin that has yet to register again is waited for, but not for
// ever, and not where something else stands in the way as well.
func TestDevicesMayComeBack(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		after time.Duration
		also  func(f *Facts)
		want  Verdict
		once  bool
	}{
		"they are there":       {0, func(*Facts) {}, Go, true},
		"they come back":       {5 * time.Second, func(*Facts) {}, Go, false},
		"they do not":          {time.Hour, func(*Facts) {}, Wait, false},
		"and the runtime died": {5 * time.Second, func(f *Facts) { f.RuntimeUp = Known(false) }, Wait, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				asked := 0
				g, err := New(factsLater{time.Now().Add(test.after), test.also, &asked}, nil, nil)
				if err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				if d := g.Decide(t.Context(), swap()); d.Verdict != test.want {
					t.Errorf("%s (%s), want %s", d.Verdict, d.Reason, test.want)
				}
				if test.once != (asked == 1) || time.Since(start) > passingPatience+passingEvery {
					t.Errorf("asked %d times in %s", asked, time.Since(start))
				}
			})
		})
	}
}

// Jobs that the operator has given up are not ended for what passes by itself
// within seconds.
func TestNobodyIsEvictedForWhatPasses(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		after time.Duration
		also  func(f *Facts)
		evict bool
		once  bool
	}{
		"they come back":       {5 * time.Second, func(*Facts) {}, false, false},
		"they do not":          {time.Hour, func(*Facts) {}, true, false},
		"and the runtime died": {5 * time.Second, func(f *Facts) { f.RuntimeUp = Known(false) }, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				asked := 0
				g, err := New(factsLater{time.Now().Add(test.after), test.also, &asked}, nil, []string{AcceptEvict(swap().Target)})
				if err != nil {
					t.Fatal(err)
				}
				if d := g.Decide(t.Context(), swap()); d.Verdict != Go || d.NeedsEviction != test.evict {
					t.Errorf("%s, evict %v (%s); want it to go, evict %v", d.Verdict, d.NeedsEviction, d.Reason, test.evict)
				}
				if test.once != (asked == 1) {
					t.Errorf("asked %d times", asked)
				}
			})
		})
	}
}
