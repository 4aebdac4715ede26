package cli

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"pai.dev/pai/internal/check"
	"pai.dev/pai/internal/cli/ui"
	"pai.dev/pai/internal/operation"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/session"
)

// operateFlags are the flags of every command that changes a cluster.
type operateFlags struct {
	dryRun bool
	accept []string
	wait   *operation.WaitOptions // nil where the command has no --wait
	skip   *[]string              // checks; nil where a command has none in front of it
	diff   bool
	// promised is a saved plan that is to be done, or nothing.
	promised *plan.Saved
	// shown is called with the plan once it was shown; nil where nobody asks.
	shown func(*session.Session, operation.Preview) error
}

func addOperateFlags(cmd *cobra.Command) *operateFlags {
	f := &operateFlags{}
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "show the plan and stop")
	addDiffFlag(cmd, f)
	cmd.Flags().StringSliceVar(&f.accept, "accept-risk", nil, "accept a risk to running jobs by name, such as interrupt-jobs or evict-jobs:MACHINE")
	return f
}

func (f operateFlags) skipped() []string {
	if f.skip == nil {
		return nil
	}
	return *f.skip
}

func addDiffFlag(cmd *cobra.Command, f *operateFlags) {
	cmd.Flags().BoolVar(&f.diff, "diff", false, "show with the plan which objects, programs and files change, field by field")
}

// operateOn opens the cluster, asks for its id where that is due, and runs a goal.
func operateOn(ctx context.Context, t *target, f operateFlags, what string, goal func(*session.Session) (operation.Goal, error)) error {
	if err := check.ValidateIDs(f.skipped()); err != nil {
		return err
	}
	s, err := t.open(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	if !f.dryRun {
		if err := t.confirmCluster(s, what); err != nil {
			return err
		}
	}
	g, err := goal(s)
	if err != nil {
		return err
	}
	return operate(ctx, t.env, s, g, f)
}

// operate runs a goal, showing its plan, its progress and its report.
func operate(ctx context.Context, env *Env, s *session.Session, goal operation.Goal, f operateFlags) error {
	ctx, safeStop, release := interrupts(ctx, env)
	defer release()
	view := ui.NewView(&env.Console)
	defer view.Close()
	var wait operation.WaitOptions
	if f.wait != nil {
		wait = *f.wait
	}
	op, err := operation.Run(ctx, goal, operation.RunOptions{
		Accept: f.accept, SkipChecks: f.skipped(), DryRun: f.dryRun, SavedPlan: f.promised,
		SafeStop: safeStop, Events: view.Event, WitnessStatus: view.Watching, Notice: env.Progressf,
		Show: func(p operation.Preview) error { return f.show(ctx, env, view, s, p) },
	}, wait)
	// Programs get the record however it ended; people, where it failed, read
	// the error.
	if f.dryRun || op.ID == "" || (err != nil && op.Outcome != pai.OutcomeWaiting && !env.JSON()) {
		return err
	}
	return errors.Join(err, view.Record(op))
}

// show shows a plan: on standard output where that is all that is asked for.
func (f operateFlags) show(ctx context.Context, env *Env, v ui.View, s *session.Session, p operation.Preview) error {
	shown := planView{Plan: p.Plan, Configuration: p.Revision}
	if f.diff {
		var err error
		if shown.Changes, err = operation.Diff(ctx, s, p.Plan); err != nil {
			return err
		}
		if p.Plan.Verb == pai.VerbRefresh {
			shown.WouldRestart = plan.Restarts(p.Plan, shown.Changes)
		}
	}
	var err error
	if f.dryRun {
		err = env.Show(shown, func(page *ui.Page) { shown.write(page, p) })
	} else {
		err = v.Plan(&shown, func(page *ui.Page) { shown.writeBefore(page, p) })
	}
	if err != nil || f.shown == nil {
		return err
	}
	return f.shown(s, p)
}

// planView is a plan as commands show it: with --diff, what its steps change.
type planView struct {
	plan.Plan
	Changes map[plan.StepID][]plan.Change `json:"changes,omitempty"`
	// WouldRestart are the workloads that a refresh would restart; nil for other plans.
	WouldRestart []string `json:"wouldRestart,omitzero"`
	// Configuration is what it applies; null where it applies none.
	Configuration *operation.AppliedRevision `json:"configuration,omitempty"`
}

func (v planView) write(page *ui.Page, p operation.Preview) {
	page.Text(plan.Text(p.Plan, p.Impact))
	if p.Revision != nil && len(p.Plan.Steps) > 0 {
		page.Linef("%v", p.Revision)
	}
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

// interrupts turns the first Ctrl-C into a stop at the next safe point, and
// the second, or a SIGTERM, into a stop now.
func interrupts(ctx context.Context, env *Env) (context.Context, <-chan struct{}, func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	safeStop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		for n := 0; ; n++ {
			var got os.Signal
			select {
			case got = <-signals:
			case <-ended:
				return
			}
			if n == 0 && got == os.Interrupt {
				env.Progressf("stopping at the next safe point; press Ctrl-C again to stop now")
				close(safeStop)
				continue
			}
			cancel()
			return
		}
	}()
	return ctx, safeStop, func() {
		signal.Stop(signals)
		close(ended)
		cancel()
	}
}
