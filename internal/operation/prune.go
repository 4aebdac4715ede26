package operation

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/revision"
	"pai.dev/pai/internal/run"
)

// prune removes old operations, their baselines, and old revisions, with the lock
// held. It is not what the operator asked for, so an error is reported and the
// next operation tries again.
func (o *operation) prune(ctx context.Context) {
	store, err := o.Store()
	if err != nil || ctx.Err() != nil || o.lock.Err() != nil {
		return
	}
	ctx, cancel := context.WithTimeoutCause(ctx, cleanupTimeout, fmt.Errorf("not done within %s", cleanupTimeout))
	defer cancel()
	limit := o.Config.HistoryLimit()
	err = errors.Join(
		pruneOperations(ctx, run.NewJournal(store).Under(o.lock), store, limit, cordonsOf(o.preview.world)),
		revision.NewStore(store).Prune(ctx, limit))
	if err != nil {
		o.Progressf("could not remove old operations and revisions; the next operation removes them: %v", err)
	}
}

// cordonMarks are the operations that cordoned a machine, as its node has it.
type cordonMarks struct {
	known bool
	by    []string
}

// cordonsOf reads the marks. They are unknown while the API is unavailable.
func cordonsOf(w plan.World) cordonMarks {
	marks := cordonMarks{known: w.APIReachable}
	for _, m := range w.Machines {
		if m.Node != nil {
			marks.by = append(marks.by, m.Node.CordonedBy)
		}
	}
	return marks
}

// has reports whether a machine is or can be cordoned by an operation.
func (c cordonMarks) has(op pai.Operation) bool {
	return len(op.Cordoned) > 0 && (!c.known || slices.Contains(c.by, op.ID))
}

// pruneOperations removes all but the newest operations, except those that are
// still needed: a running one, what a rollback or resume starts from, and one
// that has cordoned a machine. An operation that cannot be read stays.
func pruneOperations(ctx context.Context, journal *run.Journal, store run.Store, limit int, cordons cordonMarks) error {
	ids, err := journal.IDs(ctx)
	if err != nil {
		return err
	}
	var remove []string
	var problems []error
	if len(ids) > limit {
		needed, err := neededOperations(ctx, journal)
		if err != nil {
			return err
		}
		for _, id := range ids[:len(ids)-limit] {
			op, err := journal.Get(ctx, id)
			problems = append(problems, err)
			if err == nil && op.Outcome != pai.OutcomeRunning && !needed[id] && !cordons.has(op) {
				remove = append(remove, id)
			}
		}
	}
	stay := slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return slices.Contains(remove, id) })
	problems = append(problems, journal.Remove(ctx, remove))
	if len(ids) > 0 {
		problems = append(problems, pruneBaselines(ctx, store, ids[len(ids)-1], stay))
	}
	return errors.Join(problems...)
}

// neededOperations are those that decide what can be rolled back or resumed.
func neededOperations(ctx context.Context, journal *run.Journal) (map[string]bool, error) {
	var upgrade upgradeSearch
	rollback := newRollbackSearches()
	upgradeFound := false
	err := journal.Newest(ctx, func(op pai.Operation) bool {
		upgradeFound = upgradeFound || upgrade.add(op)
		return rollback.add(op) && upgradeFound
	})
	needed := map[string]bool{}
	for _, op := range append(upgrade.found(), rollback.found()...) {
		if op != nil {
			needed[op.ID], needed[op.Continues] = true, true
		}
	}
	return needed, err
}

// pruneBaselines removes the baselines of the witness whose operations do not
// stay. Those of operations after the newest known one are left alone.
func pruneBaselines(ctx context.Context, store run.Store, newest string, stay []string) error {
	names, err := store.ReadDir(ctx, path.Dir(baselineFile("")))
	if err != nil {
		return fmt.Errorf("list the baselines of the witness: %w", err)
	}
	for _, name := range names {
		id, ok := strings.CutSuffix(name, ".json")
		if !ok || id >= newest || slices.Contains(stay, id) {
			continue
		}
		if err := store.Remove(ctx, baselineFile(id)); err != nil {
			return fmt.Errorf("remove the baseline of operation %s: %w", id, err)
		}
	}
	return nil
}
