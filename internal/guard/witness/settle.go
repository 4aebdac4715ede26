package witness

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"pai.dev/pai/internal/observe/running"
	"pai.dev/pai/internal/pai"
)

// pendingEnd is the observed end of a container that has no verdict yet: the
// container might have succeeded, its user might have stopped the job, or an
// observation that the verdict needs is still to come.
type pendingEnd struct {
	evidence
	noticed time.Time // when the witness first observed it
	ended   time.Time // when the container ended, as far as known
	step    string    // in progress then
	// open is true while the machine reported the end, but not the exit code.
	open bool
	// jobRead is true if the object of its job was read after the end.
	jobRead bool
	// killed is what the kubelet says about ending it; killsRead is true if its
	// kills were read after the end.
	killed    string
	killsRead bool
	// outputLost and unobserved are as in facts.
	outputLost bool
	unobserved string
}

// factsOf collects the facts about a pending end. The caller holds l.mu.
func (l *ledger) factsOf(j *WatchedJob, c *WatchedContainer) facts {
	p := c.pending
	f := facts{
		exit: p.exit, deleted: p.sign == signDeleted, disruption: p.disruption, podFailure: p.podFailure, diskLimit: p.diskLimit, replaced: p.replaced,
		outputLost: p.outputLost, unobserved: p.unobserved,
		machine: c.Machine, boot: l.machines.since(c.Machine, c.lastAlive, p.noticed, p.ended),
		lastSeen: c.lastAlive, noticed: p.noticed, ended: p.ended,
		steps: l.steps.reaching(c.lastAlive, p.noticed, j.machines()), killed: p.killed, killsRead: p.killsRead, jobFailed: j.Failed,
	}
	if f.deleted && j.Failed {
		if f.follows = j.timedOut(l.deletions[c.PodUID]); f.follows == "" {
			f.follows, f.peersPending = l.follows(j, c)
		}
	}
	return f
}

// follows says which container of a job failed by itself before the pod of another one
// was deleted. pending is true if that can still turn out. If the tasks are known that
// made the job fail, it must be one of theirs.
func (l *ledger) follows(j *WatchedJob, c *WatchedContainer) (text string, pending bool) {
	deleted, only := c.pending.ended, j.failedTasks()
	if requested := l.deletions[c.PodUID]; !requested.IsZero() && requested.Before(deleted) {
		deleted = requested
	}
	retry, blocked, pending := l.evaluateRetries(j, deleted, only)
	if blocked || pending {
		return "", pending && !blocked
	}
	for _, d := range j.Containers {
		switch {
		case d == c || d.wasDeleted || (len(only) > 0 && !slices.ContainsFunc(only, func(t task) bool { return t.hasPod(d.Pod) })):
		case d.pending != nil && d.pending.sign != signDeleted:
			pending = true
		case d.Verdict == Failed && !d.End.Time.After(deleted.Add(secondsOnly)) && text == "":
			text = fmt.Sprintf("container %s of pod %s had failed by itself (%s)", d.Name, d.Pod, d.End.Cause)
		}
	}
	if text = cmp.Or(text, retry); text == "" {
		return "", pending
	}
	return "its pod was deleted when its job failed or restarted as a whole, after " + text, false
}

// secondsOnly is how exact the times of the API are.
const secondsOnly = time.Second

// machines lists the machines with a watched container of the job.
func (j *WatchedJob) machines() []string {
	var names []string
	for _, c := range j.Containers {
		names = append(names, c.Machine)
	}
	return names
}

// settle ends the watch of a container whose end is pending, once its verdict
// cannot change. With force, it waits for nothing. The caller holds l.mu.
func (l *ledger) settle(j *WatchedJob, c *WatchedContainer, force bool) {
	p := c.pending
	if c.Result != Running || p == nil || (!force && (p.open || !p.jobRead)) {
		return
	}
	verdict := decide(l.factsOf(j, c))
	if verdict.waits && !force {
		return
	}
	c.Result, c.Verdict, c.wasDeleted, c.pending = Ended, verdict.verdict, p.sign == signDeleted, nil
	c.End = &pai.ContainerEnd{
		Job: j.String(), VirtualCluster: j.VirtualCluster, Pod: c.Pod, Container: c.Name, Machine: c.Machine,
		Time: p.ended.UTC(), Step: stepsOn(c.Machine, p.step), Cause: p.cause, Evidence: verdict.evidence,
	}
	if p.exit != nil {
		c.End.ExitCode = &p.exit.code
	}
}

// settleAll settles the ends that only waited for others.
func (l *ledger) settleAll() {
	for range 2 { // the ends of a job can depend on each other
		l.eachRunning(func(j *WatchedJob, c *WatchedContainer) { l.settle(j, c, false) })
	}
}

// recordJob records the object of a job, as it was at a moment after read. It
// settles the ends that were noticed before. found is false if the object no
// longer exists.
func (l *ledger) recordJob(key string, set running.JobSet, found bool, read time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.jobs {
		j := &l.jobs[i]
		if running.Key(j.Namespace, j.Object) != key {
			continue
		}
		j.Stopped = j.Stopped || set.Stopped
		j.Completed = j.Completed || set.Completed
		j.Failed = j.Failed || set.Failed || (found && j.Restarts != nil && set.Restarts > *j.Restarts)
		for _, c := range j.Containers {
			p := c.pending
			switch {
			case c.Result != Running || p == nil || p.open || !p.noticed.Before(read):
			case j.Stopped || (p.sign == signDeleted && j.Completed):
				c.finish()
			case !found && p.sign == signDeleted && !p.jobRead:
				p.cause += ", with its job"
				fallthrough
			default:
				p.jobRead = true
			}
		}
	}
	l.settleAll()
}

// settleOverdue settles the ends whose explanation the API, which was just read,
// or a machine has owed for longer than unexplainedAfter.
func (l *ledger) settleOverdue(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.eachRunning(func(j *WatchedJob, c *WatchedContainer) {
		p := c.pending
		switch {
		case p == nil || now.Sub(p.noticed) <= unexplainedAfter || (!p.open && !p.jobRead):
		case p.open && j.Stopped:
			c.finish()
		case p.open:
			p.cause += "; the API does not report its exit code"
			l.settle(j, c, true)
		default:
			l.settle(j, c, true)
		}
	})
}
