package witness

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
)

// kill is the report of a kubelet that it ends a container.
type kill struct {
	container string
	message   string
	at        time.Time
}

// killDelay is how long after the end of a container the kubelet's report about it
// can arrive: it is sent in parallel with the state of the pod.
const killDelay = 2 * time.Second

// podsToExplain returns the UIDs of the pods with a pending end for which the
// kubelet's kills must be read, by namespace. A deletion explains itself.
func (l *ledger) podsToExplain() map[string][]string {
	l.mu.Lock()
	defer l.mu.Unlock()
	pods := map[string][]string{}
	l.eachRunning(func(j *WatchedJob, c *WatchedContainer) {
		p := c.pending
		if p != nil && !p.open && !p.killsRead && p.sign != signDeleted && !slices.Contains(pods[j.Namespace], c.PodUID) {
			pods[j.Namespace] = append(pods[j.Namespace], c.PodUID)
		}
	})
	for i := range l.jobs {
		if uids := l.retriesToExplain(&l.jobs[i]); len(uids) > 0 {
			pods[l.jobs[i].Namespace] = append(pods[l.jobs[i].Namespace], uids...)
		}
	}
	return pods
}

// recordKills records what the kubelet reported to end in a pod, as it was at a
// moment after read.
func (l *ledger) recordKills(uid string, kills []kill, read time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.eachRunning(func(_ *WatchedJob, c *WatchedContainer) {
		p := c.pending
		if c.PodUID != uid || p == nil || p.open {
			return
		}
		for _, k := range kills {
			before := p.at.IsZero() || !k.at.After(p.at) // both are of the kubelet's clock, in seconds
			if k.container == c.Name && before && !k.at.Before(c.StartedAt.Truncate(secondsOnly)) {
				p.killed, p.killsRead = k.message, true
			}
		}
		p.killsRead = p.killsRead || !read.Before(p.noticed.Add(killDelay))
	})
	for _, a := range l.retries {
		if a.uid == uid && !a.noticed.IsZero() {
			a.recordKills(kills, read)
		}
	}
	l.settleAll()
}

// explain reads what the kubelets reported to end in the pods with pending ends.
// It reads once for each namespace: a job can have thousands of pods.
func (w *Witness) explain(ctx context.Context) error {
	for namespace, uids := range w.ledger.podsToExplain() {
		read := time.Now()
		kills, err := w.listKills(ctx, namespace)
		if err != nil {
			return err
		}
		for _, uid := range uids {
			w.ledger.recordKills(uid, kills[uid], read)
		}
	}
	return nil
}

// listKills reads what the kubelets reported to end in a namespace, by UID of the pod.
func (w *Witness) listKills(ctx context.Context, namespace string) (map[string][]kill, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	list, err := w.core.CoreV1().Events(namespace).List(ctx, metav1.ListOptions{
		FieldSelector: fields.Set{"involvedObject.kind": "Pod", "reason": "Killing"}.String(), // k8s.io/kubernetes/pkg/kubelet/events
	})
	if err != nil {
		return nil, fmt.Errorf("list the events of namespace %s: %w", namespace, err)
	}
	kills := map[string][]kill{}
	for _, e := range list.Items {
		uid := string(e.InvolvedObject.UID)
		kills[uid] = append(kills[uid], killsOf(e)...)
	}
	return kills, nil
}

// killsOf reads an event of a kubelet, which stands for its first and its last
// occurrence. Its object is "spec.containers{NAME}".
func killsOf(e corev1.Event) []kill {
	_, name, _ := strings.Cut(strings.TrimSuffix(e.InvolvedObject.FieldPath, "}"), "{")
	var kills []kill
	for _, at := range []time.Time{e.FirstTimestamp.Time, e.LastTimestamp.Time, e.EventTime.Time} {
		if !at.IsZero() {
			kills = append(kills, kill{container: name, message: e.Message, at: at})
		}
	}
	return kills
}
