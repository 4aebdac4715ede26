package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Fault is one way to inject an upgrade.
type Fault struct {
	Name string
	What string // in words, for the table
	// Machines is how many the cluster has; 1 when it is 0. Idle is the one
	// that the job is kept away from.
	Machines int
	Idle     string
	// NoJob is set where the fault would end jobs, and rightly so. Apart is set
	// where it leads elsewhere than an undisturbed upgrade does.
	NoJob, Apart bool
	// Ends is set where the fault ends the job's containers: what the report
	// must say of each as its cause.
	Ends string
	// Rebooted is the busy machine that the fault reboots.
	Rebooted string
	// Besides is called when the job runs, and submits others. It may be nil. Their
	// ends are checked by Check, which returns what is wrong with them.
	Besides func(ctx context.Context, c *Cluster) error
	Check   func(operations []operation, victim Container) []string
	// Prepare is called with bare machines, before there is a cluster. It may be nil.
	Prepare func(ctx context.Context, c *Cluster) error
	// Before is called with the cluster of the older release and its job. What it leaves
	// is upgraded. It may be nil.
	Before func(ctx context.Context, c *Cluster) error
	// Leaves are the ends of keys in the state that Before adds, and that the upgrade leaves.
	Leaves []string
	// Inject makes the injection of one upgrade, with its own state. Nil for none.
	Inject func() Inject
}

// Inject injects the fault into the n-th attempt (from 0) while it runs, and
// reports whether it wants the next one, too. It has undone all but the end of
// paictl when it wants none.
type Inject func(ctx context.Context, c *Cluster, a *Attempt, n int) (again bool, err error)

// Round is the result of one upgrade.
type Round struct {
	Fault       string
	Attempts    int
	Took        time.Duration
	Interrupted []string // containers of jobs that are not what they were
	Ended       []string // those that the fault itself ended, as the report says
	Different   []string // from the undisturbed upgrade's end
	Problems    []string // what else went wrong
	End         State
}

// Converged reports whether the upgrade ended as an undisturbed one does.
func (r Round) Converged() bool { return len(r.Different) == 0 && len(r.Problems) == 0 }

// maxAttempts bounds how often the same command is given again.
const maxAttempts = 80

// Round makes a cluster with a job and upgrades it under a fault. The end is
// compared with undisturbed, unless that is nil.
func (c *Cluster) Round(ctx context.Context, f Fault, undisturbed State) (Round, error) {
	if f.NoJob {
		without := *c
		without.Job, without.containers = "", nil
		c = &without
	}
	if f.Apart {
		undisturbed = nil
	}
	if err := c.Up(ctx, max(f.Machines, 1), f.Idle, f.Prepare); err != nil {
		return Round{Fault: f.Name}, err
	}
	if f.Besides != nil {
		if err := f.Besides(ctx, c); err != nil {
			return Round{Fault: f.Name}, err
		}
	}
	return c.Upgrade(ctx, f, undisturbed)
}

// Upgrade upgrades the cluster that there is under a fault.
func (c *Cluster) Upgrade(ctx context.Context, f Fault, undisturbed State) (r Round, err error) {
	start := time.Now()
	r.Fault = f.Name
	defer func() { r.Took = time.Since(start) }()
	if f.Before != nil {
		if err := f.Before(ctx, c); err != nil {
			return r, err
		}
	}
	if err := c.converge(ctx, f, &r); err != nil {
		return r, err
	}
	if err := c.examine(ctx, f, &r); err != nil {
		return r, err
	}
	if r.End, err = c.TakeState(ctx, max(f.Machines, 1)); err != nil {
		return r, err
	}
	end := r.End.without(f.Leaves)
	if f.Rebooted != "" && undisturbed != nil {
		// A machine without tasks gets its reservations, for which a busy one waits.
		if _, reserves := r.End.withoutReservations(f.Rebooted); !reserves {
			r.Problems = append(r.Problems, f.Rebooted+" had no task when it was upgraded, and its kubelet reserves nothing")
		}
		undisturbed, _ = undisturbed.withoutReservations(f.Rebooted)
		end, _ = end.withoutReservations(f.Rebooted)
	}
	if undisturbed != nil {
		r.Different = undisturbed.Diff(end)
	}
	c.logf("%s: %d attempts in %s, %d differences, %d interrupted, %d ended by the fault, problems: %v", f.Name, r.Attempts,
		time.Since(start).Round(time.Second), len(r.Different), len(r.Interrupted), len(r.Ended), r.Problems)
	return r, nil
}

// converge gives the command again until it has nothing more to do.
func (c *Cluster) converge(ctx context.Context, f Fault, r *Round) error {
	var inject Inject
	injecting := f.Inject != nil
	if injecting {
		inject = f.Inject()
	}
	calm := 0 // attempts that failed without a fault
	for r.Attempts = 0; r.Attempts < maxAttempts; {
		a, err := c.apply(ctx)
		if err != nil {
			return err
		}
		began := time.Now()
		injected := injecting
		if injecting {
			if injecting, err = inject(ctx, c, a, r.Attempts); err != nil {
				a.Kill()
				a.Wait()
				return fmt.Errorf("fault %s: %w", f.Name, err)
			}
		}
		a.until(func(Event) bool { return false }) // to the end
		code := a.Wait()
		r.Attempts++
		if ctx.Err() != nil {
			return ctx.Err()
		}
		c.logf("  attempt %d: code %d after %.1f s", r.Attempts, code, time.Since(began).Seconds())
		if said := a.Said(); said != "" && code != -1 {
			c.logf("    %s", strings.ReplaceAll(said, "\n", "\n    "))
		}
		if code == 0 {
			return nil
		}
		if code != -1 {
			pause(ctx, 2*time.Second) // as a person would
		}
		if !injected {
			if calm++; calm > 4 {
				r.Problems = append(r.Problems, "left alone, the same command fails again and again: "+a.Said())
				return nil
			}
		}
	}
	r.Problems = append(r.Problems, fmt.Sprintf("not at the end after %d attempts", r.Attempts))
	return nil
}

// operation is one entry of `upgrade history -o json`.
type operation struct {
	ID, Outcome, Error string
	Jobs               struct {
		Failed, Interrupted, Unknown []ended
	}
	API struct {
		OutageSeconds, LongestGapSeconds float64
	}
	UnobservedSeconds float64
}

// examine checks the job, and whether PAI itself reports that all is well.
func (c *Cluster) examine(ctx context.Context, f Fault, r *Round) error {
	now, err := c.jobContainers(ctx)
	if err != nil {
		return err
	}
	if f.Besides != nil { // those of other jobs come and go
		now = slices.DeleteFunc(now, func(k Container) bool {
			return !slices.ContainsFunc(c.containers, func(was Container) bool { return was.Pod == k.Pod })
		})
	}
	if f.Ends == "" && !reflect.DeepEqual(now, c.containers) {
		r.Interrupted = append(r.Interrupted, fmt.Sprintf("containers were %v, are %v", c.containers, now))
	}
	out, err := c.Run(ctx, time.Minute, "upgrade", "history", "-o", "json")
	if err != nil {
		return err
	}
	var operations []operation
	if err := json.Unmarshal([]byte(out), &operations); err != nil {
		return fmt.Errorf("read the history: %w", err)
	}
	for _, o := range operations {
		c.logf("  operation %s %s: API unavailable %.1f s (longest %.1f s), unobserved %.0f s", o.ID, o.Outcome, o.API.OutageSeconds, o.API.LongestGapSeconds, o.UnobservedSeconds)
		if f.Check != nil {
			continue
		}
		for _, i := range slices.Concat(o.Jobs.Failed, o.Jobs.Interrupted, o.Jobs.Unknown) {
			said := fmt.Sprintf("operation %s says: %s of %s, during %s: %s", o.ID, i.Container, i.Pod, i.Step, i.Cause)
			if f.Ends != "" && strings.Contains(i.Cause, f.Ends) {
				r.Ended = append(r.Ended, said)
				c.logf("  %s", said)
			} else {
				r.Interrupted = append(r.Interrupted, said)
			}
		}
	}
	if f.Check != nil {
		r.Problems = append(r.Problems, f.Check(operations, c.victim)...)
	}
	if f.Ends != "" && len(r.Ended) != len(c.containers) {
		r.Problems = append(r.Problems, fmt.Sprintf("the fault ended %d containers, and the report names %d: %s", len(c.containers), len(r.Ended), f.Ends))
	}
	if len(operations) == 0 || operations[len(operations)-1].Outcome != "succeeded" {
		r.Problems = append(r.Problems, "the last operation on record has not succeeded")
	}
	var healthErr error
	err = c.await(ctx, 2*time.Minute, "all services ready", func(ctx context.Context) (bool, error) {
		_, healthErr = c.Run(ctx, time.Minute, "service", "status")
		return healthErr == nil, nil
	})
	if err != nil {
		r.Problems = append(r.Problems, errors.Join(err, healthErr).Error())
	}
	out, err = c.Run(ctx, time.Minute, "upgrade", "plan", "--to", To, "-o", "json")
	var plan struct{ Steps []any }
	if err == nil {
		err = json.Unmarshal([]byte(out), &plan)
	}
	if err != nil || len(plan.Steps) > 0 {
		r.Problems = append(r.Problems, fmt.Sprintf("there is still something to do (error %v): %s", err, out))
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
