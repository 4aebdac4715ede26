package witness

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"pai.dev/pai/internal/observe/running"
)

// recordPod records a pod of the API.
func (l *ledger) recordPod(p *corev1.Pod, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if d := disruption(p); d != "" {
		l.disruptions[string(p.UID)] = d
	}
	l.eachRunning(func(_ *WatchedJob, c *WatchedContainer) {
		if c.PodUID == string(p.UID) {
			l.apply(c, evaluate(c, p), now)
		}
	})
}

// recordPodDeleted records that the API no longer has a pod.
func (l *ledger) recordPodDeleted(uid string, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	cause := "its pod was deleted"
	if d := l.disruptions[uid]; d != "" {
		cause += "; " + d
	}
	l.eachRunning(func(_ *WatchedJob, c *WatchedContainer) {
		if c.PodUID == uid {
			l.apply(c, evidence{sign: signDeleted, cause: cause}, now)
		}
	})
}

// recordAllPods records a complete list of the pods of jobs.
func (l *ledger) recordAllPods(pods []corev1.Pod, now time.Time) {
	listed := map[string]bool{}
	for i := range pods {
		listed[string(pods[i].UID)] = true
		l.recordPod(&pods[i], now)
	}
	for _, uid := range l.runningPods() {
		if !listed[uid] {
			l.recordPodDeleted(uid, now)
		}
	}
}

// apply applies evidence from the API to a container.
func (l *ledger) apply(c *WatchedContainer, e evidence, now time.Time) {
	if c.pending != nil && !c.pending.open {
		return
	}
	switch e.sign {
	case signSucceeded:
		c.finish()
	case signFailed, signDeleted:
		l.setPending(c, e, now)
	case signNothing, signAlive:
	}
}

// setPending records the end of a container. Its time is that of the API, but
// not before the container was last observed alive, and not after now.
func (l *ledger) setPending(c *WatchedContainer, e evidence, now time.Time) {
	noticed := now
	if c.pending != nil {
		noticed = c.pending.noticed
	}
	ended, step := noticed, l.steps.at(noticed)
	if !e.at.IsZero() {
		ended = clamp(e.at, c.lastAlive, noticed)
		// The API reports whole seconds: it can be any step of that second.
		step = l.steps.during(ended, clamp(e.at.Add(time.Second), c.lastAlive, noticed))
	}
	c.pending = &pendingEnd{noticed: now, ended: ended, step: step, cause: e.cause, deleted: e.sign == signDeleted}
}

func clamp(t, from, to time.Time) time.Time {
	if t.Before(from) {
		t = from
	}
	if t.After(to) {
		t = to
	}
	return t
}

// recordMachine records the report of a machine, with all containers that lived
// there at a moment between asked and now.
func (l *ledger) recordMachine(name string, m running.MachineReport, asked, now time.Time) {
	alive, places := map[string]bool{}, map[string]string{}
	for _, c := range m.Containers {
		alive[c.ID] = true
		places[c.PodUID+"/"+c.Name] = c.ID
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.machines.recordReport(name, m, asked)
	if m.Err != nil {
		return
	}
	l.eachRunning(func(_ *WatchedJob, c *WatchedContainer) {
		known := c.pending != nil && !c.pending.open
		switch other := places[c.PodUID+"/"+c.Name]; {
		case c.Machine != name:
		case alive[c.ID]:
			c.lastAlive = asked
			if !known {
				c.pending = nil
			}
		case known:
		case other != "":
			l.setPending(c, evidence{sign: signFailed, cause: fmt.Sprintf("replaced by container %s on its machine", short(other))}, now)
		case c.pending == nil:
			c.pending = &pendingEnd{noticed: now, ended: now, step: l.steps.at(now), cause: "its process ended on its machine", open: true}
		}
	})
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
		for _, c := range j.Containers {
			p := c.pending
			switch {
			case c.Result != Running || p == nil || p.open || !p.noticed.Before(read):
			case j.Stopped || (p.deleted && j.Completed):
				c.finish()
			default:
				if !found && p.deleted {
					p.cause += ", with its job"
				}
				c.interrupt(j)
			}
		}
	}
}

// recordAllJobs records a complete list of the objects of jobs.
func (l *ledger) recordAllJobs(sets map[string]running.JobSet, read time.Time) {
	for _, key := range l.unsettledJobs() {
		if _, found := sets[key]; !found {
			l.recordJob(key, running.JobSet{}, false, read)
		}
	}
	for key, set := range sets {
		l.recordJob(key, set, true, read)
	}
}

// recordLostOutput records that the noted line of a container is lost.
func (l *ledger) recordLostOutput(id string, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.eachRunning(func(j *WatchedJob, c *WatchedContainer) {
		if c.ID == id && c.pending == nil {
			c.pending = &pendingEnd{noticed: now, ended: now, step: l.steps.at(now), cause: "output lost: its log no longer contains the last line from the start of the operation"}
			c.interrupt(j)
		}
	})
}

// interruptUnexplained turns ends into interruptions that a machine reported, and
// that the API, which was just read, has not explained for longer than limit.
func (l *ledger) interruptUnexplained(now time.Time, limit time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.eachRunning(func(j *WatchedJob, c *WatchedContainer) {
		p := c.pending
		switch {
		case p == nil || !p.open || now.Sub(p.noticed) <= limit:
		case j.Stopped:
			c.finish()
		default:
			p.cause += "; the API does not report its exit code"
			c.interrupt(j)
		}
	})
}
