package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"pai.dev/pai/internal/cli/ui"
	"pai.dev/pai/internal/operation"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/release"
	"pai.dev/pai/internal/run"
	"pai.dev/pai/internal/session"
)

// operateFlags are the flags of the commands that change a cluster.
type operateFlags struct {
	cluster *clusterFlags
	dryRun  bool
	accept  []string
	wait    *operation.WaitOptions // nil if the command has no --wait
	skip    []string               // checks
	// machines is how many machines are changed in parallel; 0 if the command has
	// no --parallel-machines.
	machines machineCount
	diff     bool
	saved    *plan.Saved // a saved plan to apply exactly; nil without one
	// added are the machines that the plan adds, which are shown with it.
	added []addedMachine
	// rehearsed is the plan that was shown and confirmed before; nil without one.
	rehearsed *plan.Plan
	// shown is called after the plan was shown; it can be nil.
	shown func(*session.Session, operation.Preview) error
}

func addOperateFlags(env *Env, cmd *cobra.Command) *operateFlags {
	f := &operateFlags{cluster: addClusterFlags(env, cmd)}
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "show the plan and stop")
	addDiffFlag(cmd, f)
	cmd.Flags().StringSliceVar(&f.accept, "accept-risk", nil, "name of a risk to running jobs to accept, such as interrupt-job:USER~NAME, interrupt-jobs, or evict-jobs:MACHINE")
	return f
}

// machineCount is the value of --parallel-machines.
type machineCount int

// maxParallelMachines bounds --parallel-machines: each machine in progress has
// its ssh sessions, and a fault that shows late is on all of them.
const maxParallelMachines = 100

func (n *machineCount) String() string { return strconv.Itoa(int(*n)) }
func (n *machineCount) Type() string   { return "int" }

func (n *machineCount) Set(text string) error {
	v, err := strconv.Atoi(text)
	if err != nil || v < 1 || v > maxParallelMachines {
		return fmt.Errorf("not a number from 1 to %d", maxParallelMachines)
	}
	*n = machineCount(v)
	return nil
}

// addParallelMachines adds --parallel-machines to a command whose steps change
// machines under running jobs.
func addParallelMachines(cmd *cobra.Command, f *operateFlags) {
	f.machines = run.DefaultParallelMachines
	cmd.Flags().Var(&f.machines, "parallel-machines", fmt.Sprintf("machines to change in parallel once the first one has succeeded, 1 to %d", maxParallelMachines))
}

func addDiffFlag(cmd *cobra.Command, f *operateFlags) {
	cmd.Flags().BoolVar(&f.diff, "diff", false, "also show the objects, programs, and files that change, field by field")
}

// goalOf makes a goal for a session.
type goalOf func(*session.Session) (operation.Goal, error)

// fixed is a goal that does not depend on the session.
func fixed(goal operation.Goal) goalOf {
	return func(*session.Session) (operation.Goal, error) { return goal, nil }
}

// run connects to the cluster, confirms the change, and runs a goal.
func (f *operateFlags) run(ctx context.Context, what string, goal goalOf) error {
	return f.cluster.withSession(ctx, func(s *session.Session) error {
		if !f.dryRun {
			if err := f.cluster.confirm(s, what); err != nil {
				return err
			}
		}
		g, err := goal(s)
		if err != nil {
			return err
		}
		return operate(ctx, f.cluster.env, s, g, *f)
	})
}

// runDeletion is run, but it also asks before data of a local cluster is deleted.
func (f *operateFlags) runDeletion(ctx context.Context, what string, deletesData bool, goal goalOf) error {
	if env := f.cluster.env; deletesData && !f.dryRun && env.isLocal(session.LocalClusterID) {
		if err := env.confirm("This will " + what); err != nil {
			return err
		}
	}
	return f.run(ctx, what, goal)
}

// operate runs a goal and shows its plan, its progress, and its report.
func operate(ctx context.Context, env *Env, s *session.Session, goal operation.Goal, f operateFlags) error {
	ctx, safeStop, release := interrupts(ctx, env)
	defer release()
	view := ui.NewView(&env.Console)
	defer view.Close()
	o := operation.RunOptions{Accept: f.accept, SkipChecks: f.skip, DryRun: f.dryRun, SavedPlan: f.saved,
		ParallelMachines: int(f.machines), SafeStop: safeStop, Observer: observer{View: view, env: env, session: s, flags: f}}
	if f.wait != nil {
		o.Wait = *f.wait
	}
	op, err := operation.Run(ctx, s, goal, o)
	// With -o json the record is always printed. As text, the error of a failed
	// operation replaces it.
	if f.dryRun || op.ID == "" || (err != nil && op.Outcome != pai.OutcomeWaiting && !env.JSON()) {
		return err
	}
	return errors.Join(err, view.Record(op))
}

// observer shows an operation in a view.
type observer struct {
	ui.View
	env     *Env
	session *session.Session
	flags   operateFlags
}

// ShowPlan shows a plan: on standard output if the command does nothing else.
func (o observer) ShowPlan(ctx context.Context, p operation.Preview) (err error) {
	if o.flags.rehearsed != nil {
		return sameAsRehearsed(*o.flags.rehearsed, p.Plan)
	}
	shown := planView{Plan: p.Plan, Added: o.flags.added, Configuration: p.Revision, ExpectedGaps: plan.ExpectedGaps(p.Plan)}
	if p.Plan.Verb == pai.VerbUpgrade && o.flags.dryRun {
		if shown.ReleaseNotes, err = releaseNotes(p.Plan.Hops, o.session.Releases); err != nil {
			return err
		}
	}
	if o.flags.diff {
		if shown.Changes, err = operation.Diff(ctx, o.session, p.Plan); err != nil {
			return err
		}
		if p.Plan.Verb == pai.VerbRefresh {
			shown.WouldRestart = plan.Restarts(p.Plan, shown.Changes)
		}
	}
	if o.flags.dryRun {
		err = o.env.Show(shown, func(page *ui.Page) { shown.write(page, p) })
	} else {
		err = o.Plan(&shown, func(page *ui.Page) { shown.writeBefore(page, p) })
	}
	if err != nil || o.flags.shown == nil {
		return err
	}
	return o.flags.shown(o.session, p)
}

// planView is a plan as commands print it. With --diff it has the changes of
// its steps.
type planView struct {
	plan.Plan
	// Added are the machines that `machine add` found.
	Added   []addedMachine                  `json:"added,omitempty"`
	Changes map[plan.StepID][]plan.StepDiff `json:"changes,omitempty"`
	// WouldRestart are the workloads that a refresh would restart; nil for other plans.
	WouldRestart []string `json:"wouldRestart,omitzero"`
	// Configuration is the revision that the plan applies; null if it applies none.
	Configuration *operation.AppliedRevision `json:"configuration,omitempty"`
	// ReleaseNotes are the notes of the releases that an upgrade passes.
	ReleaseNotes []release.Notes `json:"releaseNotes,omitempty"`
	// ExpectedGaps are how long users wait; running jobs do not notice.
	ExpectedGaps pai.Gaps `json:"expectedGaps"`
}

func (v planView) write(page *ui.Page, p operation.Preview) {
	writeAdded(page, v.Added)
	page.Text(plan.Text(p.Plan, p.Impact))
	if p.Revision != nil && len(p.Plan.Steps) > 0 {
		page.Linef("%v", p.Revision)
	}
	writeNotesBriefly(page, v.ReleaseNotes)
	if v.Changes == nil {
		return
	}
	page.Text(plan.DiffText(p.Plan, v.Changes))
	if v.WouldRestart != nil {
		page.Linef("\nWould restart %s.", ui.List(v.WouldRestart))
	}
}

// writeBefore writes the plan before its steps run.
func (v planView) writeBefore(page *ui.Page, p operation.Preview) {
	if len(p.Plan.Steps) > 0 {
		v.write(page, p)
		return
	}
	for _, n := range p.Plan.Notes {
		page.Linef("Note: %s.", n)
	}
	page.Linef("%s: nothing to do, %s.", p.Plan.Verb, describePair(p.Plan.To))
	if p.Plan.Verb == pai.VerbRefresh {
		page.Linef("Nothing was changed, and nothing restarted.")
	}
}
