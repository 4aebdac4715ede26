package operation

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/run"
)

// recorder writes what steps do into the journal entry of the operation at once, so
// that the record is complete if the process is killed.
type recorder struct {
	mu    sync.Mutex
	entry *run.Entry // nil while no steps run
}

// into sets the entry until the returned function is called.
func (r *recorder) into(entry *run.Entry) (stop func()) {
	set := func(e *run.Entry) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.entry = e
	}
	set(entry)
	return func() { set(nil) }
}

// current is the entry; nil while no steps run.
func (r *recorder) current() *run.Entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.entry
}

func (r *recorder) note(ctx context.Context, service string, changes kube.ChangeSet) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.entry == nil {
		return nil
	}
	return r.entry.Update(ctx, func(op *pai.Operation) { op.Refreshed = withChanges(op.Refreshed, service, changes) })
}

// noteGap adds the time in which no container could start on a machine to the entry. A
// time that cannot be written is reported only: it is not what the step is for.
func (o *operation) noteGap(ctx context.Context, machine string, d time.Duration) {
	o.recorder.mu.Lock()
	defer o.recorder.mu.Unlock()
	if o.recorder.entry == nil {
		return
	}
	err := o.recorder.entry.Update(ctx, func(op *pai.Operation) {
		seconds := maps.Clone(op.StartSeconds)
		if seconds == nil {
			seconds = map[string]float64{}
		}
		seconds[machine] += d.Round(time.Millisecond).Seconds()
		op.StartSeconds = seconds
	})
	if err != nil {
		o.Progressf("no container could start on %s for %s; this could not be recorded: %v", machine, d.Round(time.Millisecond), err)
	}
}

// withChanges adds the changes of a service's objects to the recorded ones. A
// change that a later run of the operation repeats is recorded once.
func withChanges(recorded []pai.ServiceChanges, service string, changes kube.ChangeSet) []pai.ServiceChanges {
	recorded = slices.Clone(recorded)
	i := slices.IndexFunc(recorded, func(c pai.ServiceChanges) bool { return c.Service == service })
	if i < 0 {
		i = len(recorded)
		recorded = append(recorded, pai.ServiceChanges{Service: service, Objects: []pai.ObjectChange{}, Restarted: []string{}})
	}
	of := &recorded[i]
	of.Objects, of.Restarted = slices.Clone(of.Objects), slices.Clone(of.Restarted)
	for _, c := range changes {
		done := pai.ObjectChange{Object: c.Object.String(), Action: string(c.Action)}
		if c.Action != kube.Unchanged && !slices.Contains(of.Objects, done) {
			of.Objects = append(of.Objects, done)
		}
		if c.Restarted && !slices.Contains(of.Restarted, done.Object) {
			of.Restarted = append(of.Restarted, done.Object)
		}
	}
	return recorded
}
