package check

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"pai.dev/pai/internal/pai"
)

// Outcome is what a check found.
type Outcome string

const (
	OK      Outcome = "ok"
	Warning Outcome = "warning" // worth knowing; in nobody's way
	Failed  Outcome = "failed"
	// Unknown is what could not be observed. It counts as failed.
	Unknown Outcome = "unknown"
)

// Result is what one check found about one thing.
type Result struct {
	ID      string  `json:"id"`
	Target  string  `json:"target"` // a machine, a service, an object; empty for the cluster
	Outcome Outcome `json:"outcome"`
	Found   string  `json:"found"`
	Fix     string  `json:"fix"` // what to do; empty where nothing is to be done
}

// Bad reports whether a result stands in the way of an operation.
func (r Result) Bad() bool { return r.Outcome == Failed || r.Outcome == Unknown }

// Stage is a kind of operation that checks stand in front of.
type Stage uint8

const (
	Boot     Stage = 1 << iota // Kubernetes is booted, or repaired
	Services                   // services are started
	Upgrade
	Staging // programs and images are brought to machines ahead of an upgrade
	// Standalone is `paictl check` itself, which runs every check.
	Standalone
)

// A Check has a stable ID, by which it is also skipped.
type Check struct {
	ID    string
	Title string
	// stages are the operations that it stands in front of.
	stages Stage
	// holds is set where it also stands in front of an operation that goes on
	// with what an earlier one left unfinished. The others look at what may have
	// been left half-done, which going on is what mends.
	holds bool
	judge func(ctx context.Context, w *world) []Result
}

// limit bounds how long one check may take.
const limit = 20 * time.Second

// RunOptions choose among the checks.
type RunOptions struct {
	// Stage is the operation in front of which they run.
	Stage Stage
	// Skip names checks that are left out.
	Skip []string
	// Resuming: the operation goes on with what another left unfinished.
	Resuming bool
}

// ValidateIDs refuses names that no check has.
func ValidateIDs(ids []string) error {
	for _, id := range ids {
		if !slices.Contains(IDs(), id) {
			return pai.Errorf(pai.CodeUsage, "the checks are: "+strings.Join(IDs(), ", "), "there is no check %q", id)
		}
	}
	return nil
}

// IDs are the names of all checks, in the order in which they are reported.
func IDs() []string {
	var ids []string
	for _, c := range All() {
		ids = append(ids, c.ID)
	}
	return ids
}

// Run runs the checks side by side, each within its own time, and returns what
// all of them found: what failed first, then what is unknown.
func Run(ctx context.Context, in Input, o RunOptions) []Result {
	return runAll(ctx, choose(All(), o), newWorld(ctx, in), limit)
}

func choose(checks []Check, o RunOptions) []Check {
	return slices.DeleteFunc(checks, func(c Check) bool {
		return o.Stage != Standalone && c.stages&o.Stage == 0 || o.Resuming && !c.holds || slices.Contains(o.Skip, c.ID)
	})
}

func runAll(ctx context.Context, checks []Check, w *world, limit time.Duration) []Result {
	found := make([][]Result, len(checks))
	var wg sync.WaitGroup
	for i, c := range checks {
		wg.Go(func() { found[i] = runOne(ctx, c, w, limit) })
	}
	wg.Wait()
	all := slices.Concat(found...)
	slices.SortStableFunc(all, func(a, b Result) int { return cmp.Compare(rank(a.Outcome), rank(b.Outcome)) })
	return all
}

// runOne runs one check. One that takes too long or breaks has found nothing
// out, which is not the same as finding nothing.
func runOne(ctx context.Context, c Check, w *world, limit time.Duration) []Result {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not within %s", limit))
	defer cancel()
	done := make(chan []Result, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				done <- []Result{{Outcome: Unknown, Found: fmt.Sprintf("the check itself broke: %v", p), Fix: "report this; --skip-check=" + c.ID + " does without the check"}}
			}
		}()
		done <- c.judge(ctx, w)
	}()
	var results []Result
	select {
	case results = <-done:
	case <-ctx.Done():
		results = []Result{unknown("", context.Cause(ctx))}
	}
	if len(results) == 0 {
		results = []Result{okay("", "nothing to look at yet")}
	}
	for i := range results {
		results[i].ID = c.ID
	}
	slices.SortStableFunc(results, func(a, b Result) int { return cmp.Compare(a.Target, b.Target) })
	return results
}

// rank orders outcomes as they are reported.
func rank(o Outcome) int { return slices.Index([]Outcome{Failed, Unknown, Warning, OK}, o) }

func okay(target, format string, args ...any) Result {
	return Result{Target: target, Outcome: OK, Found: fmt.Sprintf(format, args...)}
}

func warning(target, fix, format string, args ...any) Result {
	return Result{Target: target, Outcome: Warning, Found: fmt.Sprintf(format, args...), Fix: fix}
}

func failed(target, fix, format string, args ...any) Result {
	return Result{Target: target, Outcome: Failed, Found: fmt.Sprintf(format, args...), Fix: fix}
}

// unknown is for what could not be observed.
func unknown(target string, err error) Result {
	r := Result{Target: target, Outcome: Unknown, Found: "could not be observed: " + err.Error(), Fix: "see why, and check again"}
	if next := nextOf(err); next != "" {
		r.Fix = next
	}
	return r
}
