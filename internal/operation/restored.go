package operation

import (
	"context"
	"fmt"
	"slices"
	"time"

	"pai.dev/pai/internal/cluster"
	"pai.dev/pai/internal/guard/witness"
	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/observe/running"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/poll"
	"pai.dev/pai/internal/run"
)

// restoring records the changed records of jobs, and returns which records stay. If the loss
// is unknown because an earlier run stopped etcd, the record of that run stays.
func (o *operation) restoring(ctx context.Context, loss cluster.Loss) (cluster.Carry, error) {
	entry := o.recorder.current()
	if entry == nil || (loss.Unknown != "" && entry.Operation().Restored != nil) {
		return cluster.Carry{}, nil
	}
	changed, err := changedJobs(loss)
	if err != nil {
		loss.Unknown = err.Error()
	}
	restored := restoreOf(loss, changed)
	if loss.Unknown == "" {
		seen, err := o.seenSince(ctx, loss)
		if err != nil {
			restored.Unknown = err.Error()
		}
		restored.Jobs = append(restored.Jobs, seen...)
	}
	err = entry.Update(ctx, func(op *pai.Operation) { op.Restored = restored })
	return carryOf(changed), err
}

// seenSince are the jobs that an operation saw running after the snapshot, and that
// are neither in the snapshot nor in the cluster. All that is known of them is the
// baseline of its witness.
func (o *operation) seenSince(ctx context.Context, loss cluster.Loss) ([]pai.RestoredJob, error) {
	store, err := o.Store()
	if err != nil {
		return nil, err
	}
	known := map[string]bool{}
	for _, data := range []cluster.JobData{loss.Then, loss.Now} {
		records, err := data.Records()
		if err != nil {
			return nil, err
		}
		for id := range records {
			known[id] = true
		}
	}
	var ids []string
	err = run.NewJournal(store).Newest(ctx, func(op pai.Operation) bool {
		ids = append(ids, op.ID)
		return !op.Ended.IsZero() && op.Ended.Before(loss.Taken)
	})
	var seen []pai.RestoredJob
	for _, id := range ids {
		if err != nil {
			break
		}
		var baseline *witness.Baseline
		if baseline, err = readBaseline(ctx, store, baselineFile(id)); err != nil || baseline == nil || baseline.LastWatched.Before(loss.Taken) {
			continue
		}
		for _, j := range baseline.Jobs {
			if key := running.Key(j.Namespace, j.Object); !known[key] {
				known[key] = true
				seen = append(seen, pai.RestoredJob{Job: j.String(), User: j.User, VirtualCluster: j.VirtualCluster,
					State: string(job.StateRunning), Record: pai.RecordSeen, Containers: pai.ContainersUnknown, SeenBy: id})
			}
		}
	}
	return seen, err
}

// orphanTimeout is how long kubelets have to delete containers whose pods no longer
// exist: the termination grace period of a job, and some seconds.
const orphanTimeout = (job.GracePeriod + 15) * time.Second

// settleRestore records that the restore is done, and what happened to the
// containers that it ends.
func (x *execution) settleRestore(ctx context.Context, result run.Result) error {
	restored := x.entry.Operation().Restored
	if restored == nil || !restored.Done.IsZero() || !restoreSucceeded(x.preview.Plan, result) {
		return nil
	}
	if restored.Backup {
		return x.settleRecovery(ctx, result)
	}
	jobs := slices.Clone(restored.Jobs)
	var machines []string
	for _, j := range jobs {
		for _, c := range j.Ran {
			machines = append(machines, c.Machine)
		}
	}
	slices.Sort(machines)
	machines = slices.Compact(machines)
	wait := poll.Wait{For: "the containers of lost jobs to end", Timeout: x.orphanTimeout, Every: time.Second}
	_ = wait.Until(ctx, func(ctx context.Context) (bool, error) { // the record says which containers still run
		reports := running.Machines(ctx, x.Hosts, machines)
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		orphans := 0
		for i := range jobs {
			if len(jobs[i].Ran) > 0 {
				jobs[i].Containers = containersOutcome(jobs[i].Ran, reports)
			}
			if jobs[i].Containers == pai.ContainersOrphan {
				orphans++
			}
		}
		if orphans > 0 {
			return false, fmt.Errorf("%d jobs still have containers", orphans)
		}
		return true, nil
	})
	return x.entry.Update(ctx, func(op *pai.Operation) {
		done := *op.Restored
		done.Jobs, done.Done = jobs, time.Now().UTC()
		op.Restored = &done
	})
}

// settleRecovery records that a restore from a backup is done, and what still runs
// without a record. It waits for nothing: such containers run on until they end.
func (x *execution) settleRecovery(ctx context.Context, result run.Result) error {
	opened := slices.ContainsFunc(x.preview.Plan.Steps, func(s plan.Step) bool {
		return s.Kind == plan.KindOpen && slices.ContainsFunc(result.Steps, func(r pai.StepRecord) bool {
			return r.ID == string(s.ID) && (r.Outcome == pai.OutcomeSucceeded || r.Outcome == pai.OutcomeSkipped)
		})
	})
	reports := running.Machines(ctx, x.Hosts, x.Config.MachineNames())
	return x.entry.Update(ctx, func(op *pai.Operation) {
		r := *op.Restored
		r.Jobs = slices.Clone(r.Jobs)
		for i := range r.Jobs {
			if len(r.Jobs[i].Ran) > 0 {
				r.Jobs[i].Containers = containersOutcome(r.Jobs[i].Ran, reports)
			}
		}
		if opened {
			r.Done = time.Now().UTC()
		}
		op.Restored = &r
	})
}

// restoreSucceeded reports whether the step that restores etcd is done.
func restoreSucceeded(p plan.Plan, result run.Result) bool {
	i := slices.IndexFunc(p.Steps, func(s plan.Step) bool { return s.Kind == plan.KindRestore })
	return i < 0 || slices.ContainsFunc(result.Steps, func(s pai.StepRecord) bool {
		return s.ID == string(p.Steps[i].ID) && (s.Outcome == pai.OutcomeSucceeded || s.Outcome == pai.OutcomeSkipped)
	})
}

// containersOutcome is what the machines report about containers.
func containersOutcome(ran []pai.RanContainer, reports map[string]running.MachineReport) pai.ContainersOutcome {
	outcome := pai.ContainersDeleted
	for _, c := range ran {
		r, asked := reports[c.Machine]
		switch {
		case slices.ContainsFunc(r.Containers, func(l running.Container) bool { return l.ID == c.ID }):
			return pai.ContainersOrphan
		case r.Err != nil || !asked:
			outcome = pai.ContainersUnknown
		}
	}
	return outcome
}
