package witness

import (
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"pai.dev/pai/internal/observe/running"
	"pai.dev/pai/internal/pai"
)

// suspicion is the end of a container that has been seen, and is not yet an
// interruption: it may have ended with success, or its user may have stopped
// the job.
type suspicion struct {
	noticed time.Time // when the witness saw it
	ended   time.Time // when it ended, as well as is known
	step    string
	cause   string
	deleted bool
	// open is true while it is only known that the container has ended, from
	// its machine, and not how.
	open bool
}

// ledger holds the state of every container under watch. It is told what was
// seen, by whom and when, and has no clock or connection of its own.
//
//	running --(alive)--> running
//	running --(succeeded)--> finished
//	running --(failed, deleted, gone, dead on its machine)--> suspicion
//	suspicion --(succeeded, where only the end was known)--> finished
//	suspicion --(job read afterwards: stopped by its user,
//	             or completed and the pod deleted)--> finished
//	suspicion --(job read afterwards: neither)--> interrupted
type ledger struct {
	steps *timeline

	mu   sync.Mutex
	jobs []WatchedJob
	// disruptions remembers why a pod was said to go, for when it has gone.
	disruptions map[string]string
	machines    machines
}

func newLedger(jobs []WatchedJob, boots map[string]string, steps *timeline, since time.Time) *ledger {
	l := &ledger{steps: steps, jobs: jobs, disruptions: map[string]string{}, machines: newMachines(boots)}
	l.each(func(_ *WatchedJob, c *WatchedContainer) { c.lastAlive = since })
	return l
}

// each calls f for every container.
func (l *ledger) each(f func(*WatchedJob, *WatchedContainer)) {
	for i := range l.jobs {
		for _, c := range l.jobs[i].Containers {
			f(&l.jobs[i], c)
		}
	}
}

// eachRunning calls f for every container whose fate is open.
func (l *ledger) eachRunning(f func(*WatchedJob, *WatchedContainer)) {
	l.each(func(j *WatchedJob, c *WatchedContainer) {
		if c.Result == Running {
			f(j, c)
		}
	})
}

// sawPod takes note of a pod as the API showed it.
func (l *ledger) sawPod(p *corev1.Pod, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if d := disruption(p); d != "" {
		l.disruptions[string(p.UID)] = d
	}
	l.eachRunning(func(_ *WatchedJob, c *WatchedContainer) {
		if c.PodUID == string(p.UID) {
			l.weigh(c, judge(c, p), now)
		}
	})
}

// weigh applies one piece of evidence of the API to a container.
func (l *ledger) weigh(c *WatchedContainer, e evidence, now time.Time) {
	onlyEnd := c.suspicion == nil || c.suspicion.open
	switch e.sign {
	case signSucceeded:
		if onlyEnd {
			c.Result, c.suspicion = Finished, nil
		}
	case signFailed, signDeleted:
		if onlyEnd {
			l.suspect(c, e, now)
		}
	}
}

// suspect notes an end. Its time is the API's as far as that agrees with what
// was seen: not before the container was last seen alive, not after now.
func (l *ledger) suspect(c *WatchedContainer, e evidence, now time.Time) {
	noticed := now
	if c.suspicion != nil {
		noticed = c.suspicion.noticed
	}
	ended, step := noticed, l.steps.at(noticed)
	if !e.at.IsZero() {
		ended = clamp(e.at, c.lastAlive, noticed)
		// The API tells whole seconds: every step of that second may be the one.
		step = l.steps.during(ended, clamp(e.at.Add(time.Second), c.lastAlive, noticed))
	}
	c.suspicion = &suspicion{noticed: now, ended: ended, step: step, cause: e.cause, deleted: e.sign == signDeleted}
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

// podGone takes note that the API no longer has a pod.
func (l *ledger) podGone(uid string, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	cause := "its pod was deleted"
	if d := l.disruptions[uid]; d != "" {
		cause += "; " + d
	}
	l.eachRunning(func(_ *WatchedJob, c *WatchedContainer) {
		if c.PodUID == uid {
			l.weigh(c, evidence{sign: signDeleted, cause: cause}, now)
		}
	})
}

// sawAllPods takes note of a complete list of the jobs' pods.
func (l *ledger) sawAllPods(pods []corev1.Pod, now time.Time) {
	listed := map[string]bool{}
	for i := range pods {
		listed[string(pods[i].UID)] = true
		l.sawPod(&pods[i], now)
	}
	for _, uid := range l.openPods() {
		if !listed[uid] {
			l.podGone(uid, now)
		}
	}
}

// openPods are the UIDs of the pods with a container whose fate is open.
func (l *ledger) openPods() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var uids []string
	l.eachRunning(func(_ *WatchedJob, c *WatchedContainer) { uids = append(uids, c.PodUID) })
	slices.Sort(uids)
	return slices.Compact(uids)
}

// openMachines are the machines with a container whose fate is open.
func (l *ledger) openMachines() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var names []string
	l.eachRunning(func(_ *WatchedJob, c *WatchedContainer) { names = append(names, c.Machine) })
	slices.Sort(names)
	return slices.Compact(names)
}

// hurtMachines are the machines on which a container was interrupted.
func (l *ledger) hurtMachines() []string {
	var names []string
	for _, i := range l.interruptions() {
		names = append(names, i.Machine)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// sawSilence takes note that a machine could not be asked, and why.
func (l *ledger) sawSilence(name string, why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.machines.silent[name] = why.Error()
}

// sawMachine takes note of what a machine answered, with all containers that
// lived there when it was asked, at some moment after asked and before now.
func (l *ledger) sawMachine(name string, m running.MachineReport, asked, now time.Time) {
	alive, places := map[string]bool{}, map[string]string{}
	for _, c := range m.Containers {
		alive[c.ID] = true
		places[c.PodUID+"/"+c.Name] = c.ID
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.machines.answered(name, m, asked)
	l.eachRunning(func(_ *WatchedJob, c *WatchedContainer) {
		switch other := places[c.PodUID+"/"+c.Name]; {
		case c.Machine != name:
		case alive[c.ID]:
			c.lastAlive = asked
			if c.suspicion != nil && c.suspicion.open {
				c.suspicion = nil
			}
		case c.suspicion != nil && !c.suspicion.open:
		case other != "":
			l.suspect(c, evidence{sign: signFailed, cause: fmt.Sprintf("replaced by container %s on its machine", short(other))}, now)
		case c.suspicion == nil:
			c.suspicion = &suspicion{noticed: now, ended: now, step: l.steps.at(now), cause: "its process has ended on its machine", open: true}
		}
	})
}

// sawJob takes note of a job's own object, read at a moment after read. What
// was suspected before that is settled. found is false when there is no such
// object any more.
func (l *ledger) sawJob(key string, set running.JobSet, found bool, read time.Time) {
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
			s := c.suspicion
			switch {
			case c.Result != Running || s == nil || s.open || !s.noticed.Before(read):
			case j.Stopped || (s.deleted && j.Completed):
				c.Result, c.suspicion = Finished, nil
			default:
				if !found && s.deleted {
					s.cause += ", and its job with it"
				}
				c.interrupted(j)
			}
		}
	}
}

// interrupted turns the suspicion into an interruption.
func (c *WatchedContainer) interrupted(j *WatchedJob) {
	s := c.suspicion
	c.Result, c.suspicion = Interrupted, nil
	c.Interruption = &pai.Interruption{
		Job: j.String(), Pod: c.Pod, Container: c.Name, Machine: c.Machine,
		Time: s.ended.UTC(), Step: s.step, Cause: s.cause,
	}
}

// sawOutputBreak takes note that what a container had printed is gone.
func (l *ledger) sawOutputBreak(id string, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.eachRunning(func(j *WatchedJob, c *WatchedContainer) {
		if c.ID == id && c.suspicion == nil {
			c.suspicion = &suspicion{noticed: now, ended: now, step: l.steps.at(now), cause: "its output is broken: the last line that it had printed at the start is gone"}
			c.interrupted(j)
		}
	})
}

// suspects are the keys of the jobs whose own object has to be read.
func (l *ledger) suspects() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var keys []string
	l.eachRunning(func(j *WatchedJob, c *WatchedContainer) {
		if c.suspicion != nil && !c.suspicion.open {
			keys = append(keys, running.Key(j.Namespace, j.Object))
		}
	})
	slices.Sort(keys)
	return slices.Compact(keys)
}

// undecided reports whether any end was seen of which it is not settled what
// it was.
func (l *ledger) undecided() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	open := false
	l.eachRunning(func(_ *WatchedJob, c *WatchedContainer) { open = open || c.suspicion != nil })
	return open
}

// overdue turns ends into interruptions that machines showed, and that the API,
// which was read just now, has not explained for longer than limit.
func (l *ledger) overdue(now time.Time, limit time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.eachRunning(func(j *WatchedJob, c *WatchedContainer) {
		s := c.suspicion
		switch {
		case s == nil || !s.open || now.Sub(s.noticed) <= limit:
		case j.Stopped:
			c.Result, c.suspicion = Finished, nil
		default:
			s.cause += ", and the API does not say how"
			c.interrupted(j)
		}
	})
}

// sawAllJobs takes note of a complete list of the jobs' own objects.
func (l *ledger) sawAllJobs(sets map[string]running.JobSet, read time.Time) {
	for _, key := range l.suspects() {
		if _, found := sets[key]; !found {
			l.sawJob(key, running.JobSet{}, false, read)
		}
	}
	for key, set := range sets {
		l.sawJob(key, set, true, read)
	}
}
