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
//	pending end --(job read afterwards: neither)--> interrupted
type ledger struct {
	steps *timeline

	mu   sync.Mutex
	jobs []WatchedJob
	// disruptions are the reported disruptions of pods, for when a pod is deleted.
	disruptions map[string]string
	machines    machines
}

// pendingEnd is the observed end of a container that is not yet an interruption:
// the container might have succeeded, or its user might have stopped the job.
type pendingEnd struct {
	noticed time.Time // when the witness observed it
	ended   time.Time // when the container ended, as far as known
	step    string
	cause   string
	deleted bool
	// open is true while the machine reported the end, but not the exit code.
	open bool
}

func newLedger(jobs []WatchedJob, boots map[string]string, steps *timeline, since time.Time) *ledger {
	l := &ledger{steps: steps, jobs: jobs, disruptions: map[string]string{}, machines: newMachines(boots)}
	l.each(func(_ *WatchedJob, c *WatchedContainer) { c.lastAlive = since })
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

// runningMachines returns the machines with a running container.
func (l *ledger) runningMachines() []string {
	return l.collect(func(_ *WatchedJob, c *WatchedContainer) string { return c.Machine })
}

// unsettledJobs returns the keys of the jobs whose objects must be read.
func (l *ledger) unsettledJobs() []string {
	return l.collect(func(j *WatchedJob, c *WatchedContainer) string {
		if c.pending == nil || c.pending.open {
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

// machinesWithInterruptions returns the machines with an interrupted container.
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

// interrupt turns the pending end into an interruption.
func (c *WatchedContainer) interrupt(j *WatchedJob) {
	p := c.pending
	c.Result, c.pending = Interrupted, nil
	c.Interruption = &pai.Interruption{
		Job: j.String(), Pod: c.Pod, Container: c.Name, Machine: c.Machine,
		Time: p.ended.UTC(), Step: stepsOn(c.Machine, p.step), Cause: p.cause,
	}
}

// state returns a copy of the jobs and the boot IDs of the machines.
func (l *ledger) state() Baseline {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Baseline{Jobs: l.jobs, Boots: l.machines.boots}.clone()
}

func (l *ledger) interruptions() []pai.Interruption {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.listInterruptions()
}

// listInterruptions returns the interruptions by time. The caller holds l.mu.
func (l *ledger) listInterruptions() []pai.Interruption {
	var list []pai.Interruption
	l.each(func(_ *WatchedJob, c *WatchedContainer) {
		if c.Interruption != nil {
			list = append(list, l.machines.explain(*c.Interruption))
		}
	})
	slices.SortStableFunc(list, func(a, b pai.Interruption) int { return a.Time.Compare(b.Time) })
	return list
}
