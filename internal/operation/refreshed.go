package operation

import (
	"context"
	"slices"
	"sync"

	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/run"
)

// refreshed writes what refreshes do into the record of the operation under
// way, at once: a run that is killed later has told it.
type refreshed struct {
	mu    sync.Mutex
	entry *run.Entry // nil while no operation is under way
}

// into makes an operation's record the one that is written to, until the
// function that it returns is called.
func (r *refreshed) into(entry *run.Entry) func() {
	set := func(e *run.Entry) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.entry = e
	}
	set(entry)
	return func() { set(nil) }
}

func (r *refreshed) note(ctx context.Context, service string, changes kube.ChangeSet) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.entry == nil {
		return nil
	}
	return r.entry.Update(ctx, func(op *pai.Operation) { op.Refreshed = withChanges(op.Refreshed, service, changes) })
}

// withChanges adds what was done to a service's objects to what was recorded.
// What a later run of the operation repeats is told once.
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
