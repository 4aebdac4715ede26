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
	if p.DeletionTimestamp != nil {
		l.deletions[string(p.UID)] = deletionRequested(p)
	}
	watched := false
	l.each(func(_ *WatchedJob, c *WatchedContainer) {
		if c.PodUID != string(p.UID) {
			return
		}
		watched = true
		if c.Result == Running {
			l.apply(c, evaluate(c, p), now)
		}
	})
	if !watched {
		l.recordRetry(p, now)
	}
}

// recordPodDeleted records that the API no longer has a pod.
func (l *ledger) recordPodDeleted(uid string, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d, cause := l.disruptions[uid], "its pod was deleted"
	if d != "" {
		cause += "; " + d
	}
	l.eachRunning(func(_ *WatchedJob, c *WatchedContainer) {
		if c.PodUID == uid {
			l.apply(c, evidence{sign: signDeleted, cause: cause, disruption: d}, now)
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
	if p := c.pending; p != nil && !p.open {
		p.add(e)
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
	c.pending = &pendingEnd{evidence: e, noticed: noticed, ended: ended, step: step}
}

// add adds what the API reports about an end only later.
func (p *pendingEnd) add(e evidence) {
	if p.exit == nil && e.exit != nil {
		p.exit, p.cause = e.exit, e.cause
	}
	if e.sign == signDeleted && e.exit != nil { // deleted before it ended
		p.sign = signDeleted
	}
	if p.disruption == "" && e.disruption != "" {
		p.disruption, p.cause = e.disruption, p.cause+"; "+e.disruption
	}
	if p.podFailure == "" {
		p.podFailure = e.podFailure
	}
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
	for place, a := range l.retries {
		if a.machine == name && a.noticed.IsZero() && places[place] != "" {
			a.lastAlive = asked
		}
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
			l.setPending(c, evidence{sign: signFailed, cause: fmt.Sprintf("replaced by container %s on its machine", short(other)), replaced: short(other)}, now)
		case c.pending == nil:
			c.pending = &pendingEnd{evidence: evidence{cause: "its process ended on its machine"}, noticed: now, ended: now, step: l.steps.at(now), open: true}
		}
	})
	l.settleAll()
}

// recordLostOutput records that the noted line of a container is lost.
func (l *ledger) recordLostOutput(id string, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.eachRunning(func(j *WatchedJob, c *WatchedContainer) {
		if c.ID == id && c.pending == nil {
			c.pending = &pendingEnd{noticed: now, ended: now, step: l.steps.at(now), outputLost: true,
				evidence: evidence{cause: "output lost: its log no longer contains the last line from the start of the operation"}}
			l.settle(j, c, true)
		}
	})
}
