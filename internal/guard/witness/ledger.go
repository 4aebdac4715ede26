package witness

import (
	"slices"
	"sync"
	"time"

	"pai.dev/pai/internal/observe/running"
	"pai.dev/pai/internal/pai"
)

// ledger holds the state of every watched container. Its callers record what they
// observed and when; it has no clock and no connection.
//
//	running --(alive)--> running
//	running --(succeeded)--> finished
//	running --(failed, deleted, dead on its machine)--> pending end
//	pending end --(succeeded, if only the end was known)--> finished
//	pending end --(job read afterwards: stopped by its user,
//	               or completed and the pod deleted)--> finished
//	pending end --(job read afterwards: neither, and the facts for a verdict
//	               observed or overdue)--> ended: failed, interrupted, or unknown
type ledger struct {
	steps *timeline
	start time.Time // of this witness

	mu   sync.Mutex
	jobs []WatchedJob
	// disruptions are the reported disruptions of pods, for when a pod is deleted.
	disruptions map[string]string
	// deletions are when the deletion of a pod was requested.
	deletions map[string]time.Time
	// retries are the containers that started later, by "UID/name".
	retries map[string]*retry
	// taken is when the baseline was taken. Retries that ended before do not count.
	taken    time.Time
	machines machines
}

func newLedger(jobs []WatchedJob, boots map[string]string, steps *timeline, since time.Time) *ledger {
	l := &ledger{steps: steps, start: since, jobs: jobs, disruptions: map[string]string{}, deletions: map[string]time.Time{}, retries: map[string]*retry{}, machines: newMachines(boots)}
	l.each(func(_ *WatchedJob, c *WatchedContainer) {
		c.lastAlive = since
		if c.Result == Ended && c.Verdict == "" && c.End != nil {
			c.Verdict, c.End.Evidence = Interrupted, []string{"recorded by an older paictl, which had no verdicts"}
		}
	})
	return l
}

// each calls f for every container. The caller holds l.mu.
func (l *ledger) each(f func(*WatchedJob, *WatchedContainer)) {
	for i := range l.jobs {
		for _, c := range l.jobs[i].Containers {
			f(&l.jobs[i], c)
		}
	}
}

// eachRunning calls f for every container that has no final result.
func (l *ledger) eachRunning(f func(*WatchedJob, *WatchedContainer)) {
	l.each(func(j *WatchedJob, c *WatchedContainer) {
		if c.Result == Running {
			f(j, c)
		}
	})
}

// collect returns what f returns for the running containers, sorted, without
// duplicates and empty strings.
func (l *ledger) collect(f func(*WatchedJob, *WatchedContainer) string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var list []string
	l.eachRunning(func(j *WatchedJob, c *WatchedContainer) {
		if text := f(j, c); text != "" {
			list = append(list, text)
		}
	})
	slices.Sort(list)
	return slices.Compact(list)
}

// runningPods returns the UIDs of the pods with a running container.
func (l *ledger) runningPods() []string {
	return l.collect(func(_ *WatchedJob, c *WatchedContainer) string { return c.PodUID })
}

// runningMachines returns the machines with a running container, and those with a retry
// of a job that has one.
func (l *ledger) runningMachines() []string {
	names := l.collect(func(_ *WatchedJob, c *WatchedContainer) string { return c.Machine })
	jobs := l.collect(func(j *WatchedJob, _ *WatchedContainer) string { return running.Key(j.Namespace, j.Object) })
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range l.retries {
		if a.machine != "" && slices.Contains(jobs, a.job) {
			names = append(names, a.machine)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// unsettledJobs returns the keys of the jobs whose objects must be read.
func (l *ledger) unsettledJobs() []string {
	return l.collect(func(j *WatchedJob, c *WatchedContainer) string {
		// How a job ends its other tasks can still show after it was read.
		if p := c.pending; p == nil || p.open || (p.jobRead && p.sign != signDeleted) {
			return ""
		}
		return running.Key(j.Namespace, j.Object)
	})
}

// hasPendingEnds reports whether the end of a container is not settled.
func (l *ledger) hasPendingEnds() bool {
	return len(l.collect(func(_ *WatchedJob, c *WatchedContainer) string {
		if c.pending == nil {
			return ""
		}
		return c.ID
	})) > 0
}

// machinesWithInterruptions returns the machines with a container whose end counts
// as an interruption.
func (l *ledger) machinesWithInterruptions() []string {
	var names []string
	for _, i := range l.interruptions() {
		names = append(names, i.Machine)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// finish ends the watch of a container that succeeded or was stopped by its user.
func (c *WatchedContainer) finish() { c.Result, c.pending = Finished, nil }

// state returns a copy of the jobs and the boot IDs of the machines.
func (l *ledger) state(now time.Time) Baseline {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := Baseline{Jobs: l.jobs, Boots: l.machines.boots}.clone()
	for i, j := range l.jobs {
		b.Jobs[i].Steps = l.stepsUntil(j, now)
	}
	return b
}

// interruptions returns the ends that count as interruptions, by time.
func (l *ledger) interruptions() []pai.ContainerEnd { return l.report().Interruptions() }

// report counts the jobs and lists the ends until now.
func (l *ledger) report() pai.JobsReport {
	l.mu.Lock()
	defer l.mu.Unlock()
	return count(l.jobs, &l.machines)
}
