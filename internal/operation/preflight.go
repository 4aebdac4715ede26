package operation

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"pai.dev/pai/internal/check"
	"pai.dev/pai/internal/guard"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/session"
)

// Check runs every check for an upgrade to a release, or to the release of the
// configuration if to is empty. It changes nothing.
func Check(ctx context.Context, s *session.Session, to pai.Release, skip []string) ([]check.Result, error) {
	if to == "" {
		to = s.Config.Release()
	}
	world, err := Observe(ctx, s)
	if err != nil {
		return nil, err
	}
	goal := Upgrade(plan.Target{Release: to})
	if world.Current.Kubernetes == "" {
		goal = Bootup(s)
	}
	var p plan.Plan
	gathered, planErr := gather(ctx, s, goal, world)
	if planErr == nil {
		p, planErr = goal.Plan(gathered)
	}
	in, err := checkInput(s, goal.(checked), p, planErr, world, nil)
	if err != nil {
		return nil, err
	}
	in.Operation = func(ctx context.Context) (check.Operation, error) { return currentOperation(ctx, s) }
	return check.Run(ctx, in, check.RunOptions{Stage: check.Standalone, Skip: skip}), ctx.Err()
}

// preflight is the stage that runs the checks of the goal. It reports warnings,
// and refuses if a check failed or could not observe. A skipped check does not
// skip the guard.
func (o *operation) preflight(ctx context.Context) error {
	goal, ok := o.goal.(checked)
	if !ok || len(o.preview.Plan.Steps) == 0 {
		return nil
	}
	stage, release := goal.Preflight()
	if release == "" {
		return nil
	}
	in, err := checkInput(o.Session, goal, o.preview.Plan, nil, o.preview.world, o.options.Accept)
	if err != nil {
		return err
	}
	journal, err := o.Journal()
	if err != nil {
		return err
	}
	last, err := lastOperation(ctx, journal)
	if err != nil {
		return err
	}
	// Whether another process holds the lock is found when it is taken.
	in.Operation = func(context.Context) (check.Operation, error) {
		if last != nil && last.Outcome == pai.OutcomeRunning {
			return check.Operation{Unfinished: last}, nil
		}
		return check.Operation{}, nil
	}
	resuming, err := resumes(ctx, journal, o.goal.Verb(), in.Pair)
	if err != nil {
		return err
	}
	results := check.Run(ctx, in, check.RunOptions{Stage: stage, Machine: machineOf(o.goal), Skip: o.options.SkipChecks, Resuming: resuming})
	if err := ctx.Err(); err != nil {
		return err
	}
	return refusedBy(results, o.Progressf)
}

// refusedBy lists the bad results in an error; nil if there is none. It reports
// warnings.
func refusedBy(results []check.Result, noticef func(string, ...any)) error {
	var text strings.Builder
	var ids []string
	for _, r := range results {
		about := strings.TrimSpace(r.ID + " " + r.Target)
		switch {
		case r.Bad():
			fmt.Fprintf(&text, "\n  %s: %s", about, r.Found)
			if r.Fix != "" {
				fmt.Fprintf(&text, "\n      → %s", r.Fix)
			}
			if !slices.Contains(ids, r.ID) {
				ids = append(ids, r.ID)
			}
		case r.Outcome == check.Warning:
			noticef("warning: %s: %s", about, r.Found)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	return pai.Errorf(pai.CodeRefused, "fix the problems above, or skip a check by its ID, for example --skip-check="+ids[0],
		"preflight checks failed, nothing was changed: %s%s", strings.Join(ids, ", "), text.String())
}

func checkInput(s *session.Session, goal checked, p plan.Plan, planErr error, world plan.World, accept []string) (check.Input, error) {
	g, err := newGuard(s, accept)
	if err != nil {
		return check.Input{}, err
	}
	_, release := goal.Preflight()
	target, err := s.Manifest(release)
	if err != nil {
		return check.Input{}, err
	}
	to := p.To
	if planErr != nil {
		to = pai.Pair{Services: target.Services.Version, Kubernetes: target.Kubernetes.Version}
	}
	return check.Input{
		Config: s.Config, World: world, Releases: s.Releases, Target: target, Pair: to, Plan: p, PlanErr: planErr,
		Hosts: s.Hosts, Kube: s.Kube, Bundle: s.Bundle, LastBackup: lastBackup(s),
		BlockedSteps: func(ctx context.Context) ([]check.BlockedStep, error) { return blockedSteps(ctx, g, p, world), nil },
	}, nil
}

// lastBackup reads from the journal when the newest backup ended. A local cluster is
// deleted with its host, so it is nil for one.
func lastBackup(s *session.Session) func(context.Context) (time.Time, error) {
	if s.ClusterID() == session.LocalClusterID {
		return nil
	}
	return func(ctx context.Context) (at time.Time, err error) {
		journal, err := s.Journal()
		if err != nil {
			return at, err
		}
		err = journal.Newest(ctx, func(op pai.Operation) bool {
			if op.Verb != pai.VerbBackup || op.Outcome != pai.OutcomeSucceeded {
				return false
			}
			at = op.Ended
			return true
		})
		return at, err
	}
}

// blockedSteps asks the guard about the steps that it can decide before
// anything is done; see askGuard.
func blockedSteps(ctx context.Context, g *guard.Guard, p plan.Plan, world plan.World) []check.BlockedStep {
	var all []check.BlockedStep
	for _, step := range p.Steps {
		if !decidedEarly(step, world) {
			continue
		}
		if d := g.Decide(ctx, step); d.Verdict != guard.Go {
			all = append(all, check.BlockedStep{Step: step.ID, Jobs: d.Jobs, Reason: d.Reason, Next: d.Next})
		}
	}
	return all
}
