package witness

import (
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"pai.dev/pai/internal/observe/running"
	"pai.dev/pai/internal/pai"
)

// retry is a container of a watched job that started after the baseline. Its
// end is not reported, but it can explain why its job failed.
type retry struct {
	evidence
	job       string // key
	pod, name string
	uid       string
	task      task
	machine   string
	startedAt time.Time
	lastAlive time.Time // when it had not ended yet
	noticed   time.Time // when its end was first observed; zero before
	killed    string    // as in pendingEnd
	killsRead bool
}

// recordRetry records a pod of a watched job that has no watched container. The caller
// holds l.mu.
func (l *ledger) recordRetry(p *corev1.Pod, now time.Time) {
	key := running.Key(p.Namespace, p.Labels[pai.LabelJob])
	if !slices.ContainsFunc(l.jobs, func(j WatchedJob) bool { return running.Key(j.Namespace, j.Object) == key }) {
		return
	}
	statuses := p.Status.ContainerStatuses
	if len(statuses) == 0 {
		statuses = []corev1.ContainerStatus{{}} // it has not started, or never did
	}
	for _, s := range statuses {
		place := string(p.UID) + "/" + s.Name
		a := l.retries[place]
		if a == nil {
			a = &retry{job: key, pod: p.Name, uid: string(p.UID), name: s.Name, task: taskOf(p), lastAlive: l.start}
			if p.Spec.NodeName == "" { // it cannot have started
				a.lastAlive = now
			} else if first := l.retries[string(p.UID)+"/"]; first != nil {
				a.lastAlive = first.lastAlive
			}
			l.retries[place] = a
		}
		a.machine = p.Spec.NodeName
		if p.Status.Phase != corev1.PodFailed || !a.noticed.IsZero() {
			continue
		}
		c := &WatchedContainer{Name: s.Name, ID: running.ContainerID(s.ContainerID), Restarts: int(s.RestartCount)}
		a.evidence, a.noticed = evaluate(c, p), now
		if t := s.State.Terminated; t != nil {
			a.startedAt = t.StartedAt.Time
		}
	}
	if p.Status.Phase == corev1.PodSucceeded || statuses[0].Name != "" {
		delete(l.retries, string(p.UID)+"/")
	}
	if p.Status.Phase == corev1.PodSucceeded {
		maps.DeleteFunc(l.retries, func(_ string, a *retry) bool { return a.uid == string(p.UID) })
	}
}

// retriesToExplain returns the UIDs of the pods of retries of a job for which the
// kubelet's kills must be read: once the pod of another task was deleted.
func (l *ledger) retriesToExplain(j *WatchedJob) (uids []string) {
	if !slices.ContainsFunc(j.Containers, func(c *WatchedContainer) bool { return c.pending != nil && c.pending.sign == signDeleted }) {
		return nil
	}
	for _, a := range l.retriesOf(j) {
		if !a.noticed.IsZero() && !a.killsRead {
			uids = append(uids, a.uid)
		}
	}
	return uids
}

func (l *ledger) retriesOf(j *WatchedJob) (list []*retry) {
	key := running.Key(j.Namespace, j.Object)
	for _, a := range l.retries {
		if a.job == key {
			list = append(list, a)
		}
	}
	slices.SortFunc(list, func(a, b *retry) int { return a.noticed.Compare(b.noticed) })
	return list
}

// recordKills is like that of the ledger.
func (a *retry) recordKills(kills []kill, read time.Time) {
	for _, k := range kills {
		before := a.at.IsZero() || !k.at.After(a.at)
		if k.container == a.name && before && !k.at.Before(a.startedAt.Truncate(secondsOnly)) {
			a.killed, a.killsRead = k.message, true
		}
	}
	a.killsRead = a.killsRead || !read.Before(a.noticed.Add(killDelay))
}

// ended is when a retry ended, as far as known.
func (a *retry) ended() time.Time {
	if a.at.IsZero() {
		return a.noticed
	}
	return clamp(a.at, a.lastAlive, a.noticed)
}

func (l *ledger) factsOfRetry(j *WatchedJob, a *retry) facts {
	return facts{
		exit: a.exit, deleted: a.sign == signDeleted, disruption: a.disruption, podFailure: a.podFailure, diskLimit: a.diskLimit, replaced: a.replaced,
		machine: a.machine, boot: l.machines.since(a.machine, a.lastAlive, a.noticed, a.ended()),
		lastSeen: a.lastAlive, noticed: a.noticed, ended: a.ended(),
		steps: l.steps.reaching(a.lastAlive, a.noticed, append(j.machines(), a.machine)), killed: a.killed, killsRead: a.killsRead,
	}
}

// deletedTogether is how far apart the deletions of the pods of a failed job can be.
const deletedTogether = 2 * time.Second

// evaluateRetries says which retry of a job failed by itself before its pods were
// deleted. blocked is true if one ended before in another way, which might be why the job
// failed; pending is true if one is not settled.
func (l *ledger) evaluateRetries(j *WatchedJob, deleted time.Time, only []task) (text string, blocked, pending bool) {
	for _, a := range l.retriesOf(j) {
		switch {
		case len(only) > 0 && !slices.Contains(only, a.task):
		case a.noticed.IsZero() || a.ended().After(deleted.Add(secondsOnly)):
		case !a.at.IsZero() && a.at.Before(l.taken):
		case a.sign == signDeleted && !l.deletions[a.uid].Before(deleted.Add(-deletedTogether)): // with the job
		default:
			d := decide(l.factsOfRetry(j, a))
			switch {
			case d.verdict == Failed:
				text = fmt.Sprintf("container %s of pod %s, a retry, had failed by itself (%s)", a.name, a.pod, a.cause)
			case d.waits:
				pending = true
			default:
				blocked = true
			}
		}
	}
	return text, blocked, pending
}
