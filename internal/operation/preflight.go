package operation

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"pai.dev/pai/internal/check"
	"pai.dev/pai/internal/guard"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/run"
	"pai.dev/pai/internal/session"
)

// Check runs every check for going to a release, or for what the configuration
// names when that is empty. Nothing is changed.
func Check(ctx context.Context, on *session.Session, to pai.Release, skip []string) ([]check.Result, error) {
	s := newOperation(on)
	if to == "" {
		to = s.Config.Release()
	}
	goal := Upgrade(on, plan.Target{Release: to})
	world, err := s.observe(ctx)
	if err != nil {
		return nil, err
	}
	if world.Current.Kubernetes == "" {
		goal = Bootup(on)
	}
	p, planErr := goal.Plan(world)
	in, err := s.checkInput(goal, p, planErr, world, nil)
	if err != nil {
		return nil, err
	}
	in.Operation = s.underWay
	return check.Run(ctx, in, check.RunOptions{Stage: check.Standalone, Skip: skip}), ctx.Err()
}

// preflight runs the checks that stand in front of a goal, tells the warnings,
// and refuses when anything failed or could not be observed. A check that is
// skipped does not skip the guard.
func (s *operation) preflight(ctx context.Context, goal Goal, p plan.Plan, world plan.World, o RunOptions) error {
	if goal.stage == 0 {
		return nil
	}
	in, err := s.checkInput(goal, p, nil, world, o.Accept)
	if err != nil {
		return err
	}
	last, err := s.lastOperation(ctx)
	if err != nil {
		return err
	}
	// Whether somebody else is at work, the lock itself finds out.
	in.Operation = func(context.Context) (check.Operation, error) {
		var under check.Operation
		if last != nil && last.Outcome == pai.OutcomeRunning {
			under.Unfinished = last
		}
		return under, nil
	}
	resuming := last != nil && last.Outcome != pai.OutcomeSucceeded && check.Continues(*last, in.Pair)
	results := check.Run(ctx, in, check.RunOptions{Stage: goal.stage, Skip: o.SkipChecks, Resuming: resuming})
	if err := ctx.Err(); err != nil {
		return err
	}
	return refusedBy(results, o.Notice)
}

// refusedBy is nil when no result is bad, and otherwise lists those that are.
func refusedBy(results []check.Result, notice func(string, ...any)) error {
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
			notice("warning: %s: %s", about, r.Found)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	return pai.Errorf(pai.CodeRefused, "mend what is listed; a check is left out by name: --skip-check="+ids[0],
		"nothing was done, because these checks failed: %s%s", strings.Join(ids, ", "), text.String())
}

func (s *operation) checkInput(goal Goal, p plan.Plan, planErr error, world plan.World, accept []string) (check.Input, error) {
	g, err := s.newGuard(accept)
	if err != nil {
		return check.Input{}, err
	}
	target, err := s.Manifest(goal.release)
	if err != nil {
		return check.Input{}, err
	}
	to := p.To
	if planErr != nil {
		to = pai.Pair{Services: target.Services.Version, Kubernetes: target.Kubernetes.Version}
	}
	return check.Input{
		Config: s.Config, World: world, Releases: s.Releases, Target: target, Pair: to, Plan: p, PlanErr: planErr,
		Hosts: s.Hosts, Kube: s.Kube, Bundle: s.Bundle,
		BlockedSteps: func(ctx context.Context) ([]check.BlockedStep, error) { return obstacles(ctx, g, p, world), nil },
	}, nil
}

// releaseOf names the release that carries a version of Kubernetes; that
// version itself where none does, which planning then refuses.
func (s *operation) releaseOf(kubernetes pai.KubernetesVersion) pai.Release {
	m, err := s.ManifestOf(kubernetes)
	if err != nil {
		return pai.Release(kubernetes)
	}
	return m.Metadata.Name
}

// obstacles asks the guard about the steps that it can judge before anything
// is done; see refuseEarly.
func obstacles(ctx context.Context, g *guard.Guard, p plan.Plan, world plan.World) []check.BlockedStep {
	var all []check.BlockedStep
	for _, step := range p.Steps {
		if !judgedEarly(step, world) {
			continue
		}
		if d := g.Decide(ctx, step); d.Verdict != guard.Go {
			all = append(all, check.BlockedStep{Step: step.ID, Jobs: d.Jobs, Reason: d.Reason, Next: d.Next})
		}
	}
	return all
}

// lastOperation is the journal's last entry but for staging, which leaves
// nothing half-done and mends nothing; nil where there is none.
func (s *operation) lastOperation(ctx context.Context) (*pai.Operation, error) {
	master, err := s.ControlPlane()
	if err != nil {
		return nil, err
	}
	return lastOperation(ctx, run.NewJournal(master))
}

func lastOperation(ctx context.Context, journal *run.Journal) (*pai.Operation, error) {
	all, err := journal.List(ctx)
	all = slices.DeleteFunc(all, func(op pai.Operation) bool { return op.Verb.LeavesNothingPartial() })
	if len(all) == 0 {
		return nil, err
	}
	return &all[len(all)-1], nil // an older entry that is damaged is not in the way
}

// underWay reads the journal and the lock.
func (s *operation) underWay(ctx context.Context) (check.Operation, error) {
	var o check.Operation
	master, err := s.ControlPlane()
	if err != nil {
		return o, err
	}
	if o.Unfinished, err = run.NewJournal(master).Current(ctx); err != nil {
		return o, err
	}
	if o.Unfinished != nil && o.Unfinished.Verb.LeavesNothingPartial() {
		o.Unfinished = nil
	}
	number, holder, err := run.Current(ctx, master)
	if err != nil || holder == nil {
		return o, err
	}
	self, err := run.ThisProcess(s.Version, pai.VerbCheck)
	if err != nil {
		return o, err
	}
	silent, err := silence(ctx, master, run.LockFile(number))
	if err != nil {
		return o, err
	}
	if self.Sees(*holder) != "dead" && silent < run.Expiry {
		o.Holder = holder.String()
	}
	return o, nil
}

// silence is how long a file was not written, by the machine's own clock.
func silence(ctx context.Context, host machine.Host, file string) (time.Duration, error) {
	out, err := host.Run(ctx, machine.Command{Script: "echo $(( $(date +%s) - $(stat -c %Y " + machine.Quote(file) + ") ))"})
	if err != nil {
		return 0, fmt.Errorf("see whether the lock's holder lives: %w", err)
	}
	seconds, err := strconv.Atoi(strings.TrimSpace(out.Stdout))
	if err != nil {
		return 0, fmt.Errorf("see whether the lock's holder lives: %w", err)
	}
	return time.Duration(seconds) * time.Second, nil
}
