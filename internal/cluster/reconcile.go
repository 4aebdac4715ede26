package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"golang.org/x/sync/errgroup"

	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/inspect/helper"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
)

// Presence is what a machine has of pods.
type Presence struct {
	// Running are the running containers of jobs.
	Running []inspect.Container
	// Pods are the UIDs of the pods that its kubelet knows, also those whose
	// containers have ended.
	Pods map[string]bool
	// Err is why this is unknown.
	Err error
}

// knows reports whether the machine has, or had until the kubelet was kept out, a pod.
func (p Presence) knows(uid string) bool {
	return p.Pods[uid] || slices.ContainsFunc(p.Running, func(c inspect.Container) bool { return c.PodUID == uid })
}

// Comparison is how the jobs of a backup compare with the machines.
type Comparison struct {
	// Held are the jobs that must not run again: they had started, and a pod of theirs
	// no longer exists.
	Held []HeldJob
	// Waiting are the jobs that had not started. One that ran since is not known.
	Waiting []BackupJob
	// Running are the jobs all of whose pods the machines have.
	Running []BackupJob
	// Younger are the containers of jobs, by machine, whose pods the backup does not
	// have. A kubelet that reads the restored API would end them.
	Younger map[string][]inspect.Container
	// Unknown are the machines that could not be observed, with the reason.
	Unknown map[string]error
}

// HeldJob is a job that must not run again.
type HeldJob struct {
	BackupJob
	Why string
}

// Compare compares the jobs of a backup, which had not ended, with the machines. It is
// a pure function. What cannot be observed counts as there: it keeps a machine out,
// but ends and holds nothing.
func Compare(jobs []BackupJob, machines map[string]Presence) Comparison {
	c := Comparison{Younger: map[string][]inspect.Container{}, Unknown: map[string]error{}}
	for name, p := range machines {
		if p.Err != nil {
			c.Unknown[name] = p.Err
		}
	}
	why := map[string]string{} // by the key of a job
	of := map[string]string{}  // the key of a job by the UID of a pod
	for _, j := range jobs {
		for _, p := range j.Pods {
			of[p.UID] = j.key()
			at, known := machines[p.Machine]
			if p.Machine != "" && known && at.Err == nil && !at.knows(p.UID) {
				why[j.key()] = fmt.Sprintf("pod %s no longer exists on %s", p.Name, p.Machine)
			}
		}
	}
	// A job that the backup has, and that runs in a pod that it does not have, was
	// started again since. It must not run twice.
	for _, name := range sortedKeys(machines) {
		for _, container := range machines[name].Running {
			if of[container.PodUID] != "" {
				continue
			}
			if j := jobOfPod(jobs, container.Namespace, container.Pod); j != nil && why[j.key()] == "" {
				why[j.key()] = fmt.Sprintf("it runs on %s in pod %s, which the backup does not have", name, container.Pod)
			}
		}
	}
	where := map[string]string{} // the machine by the UID of a pod of the restored data
	for _, j := range jobs {
		if text, held := why[j.key()]; held {
			c.Held = append(c.Held, HeldJob{j, text})
			continue
		}
		started := false
		for _, p := range j.Pods {
			where[p.UID] = p.Machine
			started = started || p.Machine != ""
		}
		if started {
			c.Running = append(c.Running, j)
		} else {
			c.Waiting = append(c.Waiting, j)
		}
	}
	for _, name := range sortedKeys(machines) {
		for _, container := range machines[name].Running {
			if container.OfJob() && (container.PodUID == "" || where[container.PodUID] != name) {
				c.Younger[name] = append(c.Younger[name], container)
			}
		}
	}
	return c
}

// jobOfPod is the job whose pods have such a name:
// <JobSet>-<task role>-<index>-<index>-<random>.
func jobOfPod(jobs []BackupJob, namespace, pod string) *BackupJob {
	for i, j := range jobs {
		for _, role := range j.Roles {
			rest, ok := strings.CutPrefix(pod, j.Object+"-"+role+"-")
			if ok && j.Namespace == namespace && podSuffix.MatchString(rest) {
				return &jobs[i]
			}
		}
	}
	return nil
}

var podSuffix = regexp.MustCompile(`^\d+-\d+-[a-z0-9]+$`)

func (j BackupJob) key() string { return j.Namespace + "/" + j.Object }

// presenceTimeout limits the question to one machine, presencesAtOnce how many are
// asked in parallel.
const (
	presenceTimeout = 30 * time.Second
	presencesAtOnce = 16
)

// Presences asks machines what they have of pods. A machine that is not in hosts is
// unknown.
func Presences(ctx context.Context, hosts map[string]machine.Host, names []string) map[string]Presence {
	list := make([]Presence, len(names))
	var group errgroup.Group
	group.SetLimit(presencesAtOnce)
	for i, name := range names {
		group.Go(func() error {
			list[i] = presenceOn(ctx, hosts[name])
			return nil
		})
	}
	_ = group.Wait() // the errors are in the list
	found := map[string]Presence{}
	for i, name := range names {
		found[name] = list[i]
	}
	return found
}

func presenceOn(ctx context.Context, h machine.Host) Presence {
	if h == nil {
		return Presence{Err: errors.New("the machine is unreachable")}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, presenceTimeout, fmt.Errorf("machine %s did not list its pods within %s", h.Name(), presenceTimeout))
	defer cancel()
	report, err := helper.Parts(ctx, h, inspect.Containers)
	if err != nil {
		return Presence{Err: fmt.Errorf("list the containers of %s: %w", h.Name(), err)}
	}
	p := Presence{Pods: map[string]bool{}}
	for _, c := range report.Activity.Containers {
		if c.OfJob() {
			p.Running = append(p.Running, c)
		}
	}
	out, err := sh(ctx, h, "[ ! -d %[1]s/pods ] || ls -1 %[1]s/pods", layout.KubeletDir)
	if err != nil {
		return Presence{Err: fmt.Errorf("list the pods of %s: %w", h.Name(), err)}
	}
	for _, uid := range strings.Fields(out) {
		p.Pods[uid] = true
	}
	return p
}

// hold returns what marks a job in etcd as stopped, before an API server serves it. Its
// JobSet stays as a record, suspended and in no queue; its workload, its Jobs, and its
// pods go, so that nothing starts them.
func hold(r *JobRecord, data JobData, namespace, object, by string, now time.Time) (Carried, error) {
	c := Carried{Put: map[string][]byte{}, Remove: []string{}}
	id := namespace + "/" + object
	var set unstructured.Unstructured
	if err := set.UnmarshalJSON(data[jobSetKey(id)]); err != nil {
		return c, fmt.Errorf("read job %s in etcd: %w", id, err)
	}
	annotations, labels := set.GetAnnotations(), set.GetLabels()
	if annotations == nil {
		annotations = map[string]string{}
	}
	if annotations[pai.AnnotationStopped] == "" {
		annotations[pai.AnnotationStopped] = now.UTC().Format(time.RFC3339) + " by " + by
	}
	set.SetAnnotations(annotations)
	delete(labels, pai.LabelQueue)
	labels[pai.LabelStop] = pai.StopDone
	set.SetLabels(labels)
	if err := unstructured.SetNestedField(set.Object, true, "spec", "suspend"); err != nil {
		return c, err
	}
	conditions, _, err := unstructured.NestedSlice(set.Object, "status", "conditions")
	if err != nil {
		return c, err
	}
	conditions = slices.DeleteFunc(conditions, func(one any) bool {
		fields, ok := one.(map[string]any)
		return ok && fields["type"] == "Suspended"
	})
	conditions = append(conditions, map[string]any{"type": "Suspended", "status": string(metav1.ConditionTrue), "reason": "SuspendedJobs",
		"message": "jobset is suspended", "lastTransitionTime": now.UTC().Format(time.RFC3339)})
	if err := unstructured.SetNestedSlice(set.Object, conditions, "status", "conditions"); err != nil {
		return c, err
	}
	value, err := json.Marshal(set.Object)
	if err != nil {
		return c, err
	}
	c.Put[jobSetKey(id)] = value
	for _, key := range r.Keys() {
		switch kindOfKey(key) {
		case kindWorkloads, kindJobs, kindPods:
			c.Remove = append(c.Remove, key)
		}
	}
	return c, nil
}

// Admissible compares what a machine runs with the pods of the API. younger are its
// containers of jobs that the API server does not have; missing are the pods that its
// kubelet would start although they had started before.
func Admissible(p Presence, node string, pods []corev1.Pod) (younger []inspect.Container, missing []corev1.Pod) {
	known := map[string]bool{}
	for i := range pods {
		pod := &pods[i]
		if pod.Spec.NodeName != node {
			continue
		}
		known[string(pod.UID)] = true
		if live(pod) && pod.DeletionTimestamp == nil && !p.knows(string(pod.UID)) {
			missing = append(missing, *pod)
		}
	}
	for _, c := range p.Running {
		if c.OfJob() && (c.PodUID == "" || !known[c.PodUID]) {
			younger = append(younger, c)
		}
	}
	return younger, missing
}
