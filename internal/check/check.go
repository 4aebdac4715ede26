package check

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// Stage is a kind of operation that checks run before.
type Stage uint16

const (
	Boot     Stage = 1 << iota // boot or repair of Kubernetes
	Services                   // start of services
	Upgrade
	Rollback
	Staging // copy of programs and images before an upgrade
	// Return is the return of one machine from maintenance: the checks of a boot, for that
	// machine. None only warns: no job waits for a machine that is not good yet.
	Return
	// Standalone is `paictl check` itself, which runs every check.
	Standalone
	// alsoOnResume marks a check that also runs before a resumed operation. The
	// others find what a partially applied operation left, which a resume fixes.
	alsoOnResume
	// onlyWarns marks a check whose results block no operation: before one, a problem is a
	// warning. `paictl check` still fails.
	onlyWarns

	always = Boot | Services | Upgrade | Staging | alsoOnResume
)

// standaloneOnly marks a check that runs before no operation, only in `paictl check`.
const standaloneOnly Stage = 0

// Check is one check. Its ID is stable; --skip-check takes it.
type Check struct {
	ID       string
	Title    string
	stages   Stage
	evaluate evaluateFunc
}

// evaluateFunc returns the results of a check. No result means that there is
// nothing to check yet. An error counts as unknown.
type evaluateFunc func(ctx context.Context, w *world) ([]Result, error)

// All returns every check, in the order of the report.
func All() []Check {
	return slices.Concat(operationChecks(), bundleChecks(), versionChecks(), machineChecks(), hostChecks(), mountChecks(), gpuChecks(), strangerChecks(),
		certificateChecks(), controlPlaneChecks(), nodeChecks(), serviceChecks(), tokenChecks(), joinTokenChecks(), unconfiguredChecks(), webhookChecks(),
		deprecatedAPIChecks(), definitionChecks())
}

// IDs returns the IDs of all checks, in the order of the report.
func IDs() []string {
	var ids []string
	for _, c := range All() {
		ids = append(ids, c.ID)
	}
	return ids
}

// ValidateIDs returns a usage error for an unknown ID.
func ValidateIDs(ids []string) error {
	known := IDs()
	for _, id := range ids {
		if !slices.Contains(known, id) {
			return pai.Errorf(pai.CodeUsage, "the checks are: "+strings.Join(known, ", "), "check %q not found", id)
		}
	}
	return nil
}

// RunOptions select checks.
type RunOptions struct {
	// Stage is the operation that they run before.
	Stage Stage
	// Machine is the only machine that is checked, with the control plane; empty for all
	// that are not in maintenance.
	Machine string
	// Skip are the IDs of the checks to skip.
	Skip []string
	// Resuming is set for an operation that continues an unfinished one.
	Resuming bool
}

func (o RunOptions) skips(c Check) bool {
	if o.Stage == Return {
		o.Stage, o.Resuming = Boot, false // the machine was repaired since the last operation
	}
	return o.Stage != Standalone && c.stages&o.Stage == 0 || o.Resuming && c.stages&alsoOnResume == 0 || slices.Contains(o.Skip, c.ID)
}

// timeout is the time limit of one check and of one observation.
const timeout = 20 * time.Second

// Run runs the checks in parallel, each within its own time limit, and returns
// all results: first the failed ones, then the unknown ones.
func Run(ctx context.Context, in Input, o RunOptions) []Result {
	checks := slices.DeleteFunc(All(), o.skips)
	for i := range checks {
		if o.Stage == Standalone || o.Stage == Return {
			checks[i].stages &^= onlyWarns
		}
	}
	in = o.without(in)
	return slices.DeleteFunc(runAll(ctx, checks, newWorld(ctx, in), timeout), func(r Result) bool { return o.leavesOut(in, r) })
}

// without is the input without the connections to the machines that are left out.
func (o RunOptions) without(in Input) Input {
	in.Hosts, in.leftOut = maps.Clone(in.Hosts), map[string]bool{}
	for _, m := range in.World.Machines {
		if o.isLeftOut(m) {
			in.leftOut[m.Name] = true
			delete(in.Hosts, m.Name)
		}
	}
	return in
}

// isLeftOut reports whether a machine is not checked.
func (o RunOptions) isLeftOut(m plan.MachineState) bool {
	inMaintenance := m.Maintenance != nil && m.Name != o.Machine
	if m.ControlPlane {
		return inMaintenance // else others are compared with it
	}
	return inMaintenance || o.Machine != "" && m.Name != o.Machine
}

// leavesOut reports whether a result is about a machine that is not checked. That a
// machine is in maintenance is a result itself.
func (o RunOptions) leavesOut(in Input, r Result) bool {
	name, _, _ := strings.Cut(r.Target, "/")
	return slices.ContainsFunc(in.World.Machines, func(m plan.MachineState) bool {
		other := o.isLeftOut(m) || o.Machine != "" && m.Name != o.Machine
		return m.Name == name && other && r.ID != cordonedCheck
	})
}

func runAll(ctx context.Context, checks []Check, w *world, timeout time.Duration) []Result {
	all := slices.Concat(parallel(checks, func(c Check) []Result { return runOne(ctx, c, w, timeout) })...)
	slices.SortStableFunc(all, func(a, b Result) int { return cmp.Compare(a.Outcome.severity(), b.Outcome.severity()) })
	return all
}

// maxParallel is how many machines or components are observed in parallel. The
// connection of a machine limits its sessions.
const maxParallel = 64

// parallel calls f for each item in parallel and returns the results in order.
func parallel[T, R any](items []T, f func(T) R) []R {
	results := make([]R, len(items))
	slots := make(chan struct{}, maxParallel)
	var wg sync.WaitGroup
	for i, item := range items {
		slots <- struct{}{}
		wg.Go(func() {
			results[i] = f(item)
			<-slots
		})
	}
	wg.Wait()
	return results
}

// runOne runs one check. A check that takes too long or panics has the result
// unknown.
func runOne(ctx context.Context, c Check, w *world, timeout time.Duration) []Result {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("not within %s", timeout))
	defer cancel()
	done := make(chan []Result, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				done <- []Result{{Outcome: Unknown, Found: fmt.Sprintf("the check panicked: %v", p), Fix: "report this problem; to continue without the check, use --skip-check=" + c.ID}}
			}
		}()
		results, err := c.evaluate(ctx, w)
		if err != nil {
			results = append(results, unknown("", err))
		}
		done <- results
	}()
	var results []Result
	select {
	case results = <-done:
	case <-ctx.Done():
		results = []Result{unknown("", context.Cause(ctx))}
	}
	if len(results) == 0 {
		results = []Result{okay("", "nothing to check yet")}
	}
	for i := range results {
		results[i].ID = c.ID
		if c.stages&onlyWarns != 0 && results[i].Bad() {
			results[i].Outcome = Warning
		}
	}
	slices.SortStableFunc(results, func(a, b Result) int { return cmp.Compare(a.Target, b.Target) })
	return results
}
