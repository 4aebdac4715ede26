package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"pai.dev/pai/internal/check"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/upgrade"
)

// operateFlags are the flags of every command that changes a cluster.
type operateFlags struct {
	dryRun bool
	accept []string
	wait   *upgrade.WaitOptions // nil where the command has no --wait
	skip   *[]string            // checks; nil where a command has none in front of it
}

func addOperateFlags(cmd *cobra.Command) *operateFlags {
	f := &operateFlags{}
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "show the plan and stop")
	cmd.Flags().StringSliceVar(&f.accept, "accept-risk", nil, "accept a risk to running jobs by name, such as interrupt-jobs or evict-jobs:MACHINE")
	return f
}

func (f operateFlags) skipped() []string {
	if f.skip == nil {
		return nil
	}
	return *f.skip
}

// operateOn opens the cluster, asks for its id where that is due, and runs a goal.
func operateOn(ctx context.Context, t *target, f operateFlags, what string, goal func(*upgrade.Session) (upgrade.Goal, error)) error {
	if err := check.Known(f.skipped()); err != nil {
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
	_, err = operate(ctx, t.env, s, g, f)
	return err
}

// operate runs a goal, showing its plan, its progress and its report.
func operate(ctx context.Context, env *Env, s *upgrade.Session, goal upgrade.Goal, f operateFlags) (pai.Operation, error) {
	ctx, safeStop, release := interrupts(ctx, env)
	defer release()
	view := newProgress(env)
	var wait upgrade.WaitOptions
	if f.wait != nil {
		wait = *f.wait
	}
	op, err := s.OperateAndWait(ctx, goal, upgrade.Options{
		Accept: f.accept, SkipChecks: f.skipped(), DryRun: f.dryRun, SafeStop: safeStop, Events: view.event, Notice: env.Progressf,
		Show: func(p upgrade.Preview) error {
			if f.dryRun {
				return env.Show(p.Plan, func(out io.Writer) error { return writePlan(out, p) })
			}
			return showBeforeDoing(env, p)
		},
	}, wait)
	if (err != nil && op.Outcome != pai.OutcomeWaiting) || f.dryRun || op.ID == "" {
		return op, err
	}
	return op, errors.Join(err, env.Show(op, func(out io.Writer) error { return writeReport(out, op) }))
}

func showBeforeDoing(env *Env, p upgrade.Preview) error {
	if len(p.Plan.Steps) == 0 {
		env.Progressf("%s: nothing to do, %s.", p.Plan.Verb, describePair(p.Plan.To))
		return nil
	}
	return writePlan(env.Err, p)
}

func writePlan(out io.Writer, p upgrade.Preview) error {
	_, err := fmt.Fprint(out, plan.Text(p.Plan, p.Impact))
	return err
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
