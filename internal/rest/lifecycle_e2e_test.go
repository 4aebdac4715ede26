//go:build e2e

package rest

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
)

// TestJobLives takes jobs through their lives with the real Kueue and JobSet
// and the controllers of Kubernetes. The test plays the kubelet: it starts, ends,
// and deletes pods.
func TestJobLives(t *testing.T) {
	w := newWorld(t, "default")
	c := newControllers(t, w, "v0.19.2")
	c.start(t, "sigs.k8s.io/jobset", "v0.12.0", jobsetConfig)
	c.start(t, "sigs.k8s.io/kueue", "v0.19.2", kueueConfig)
	keeping, stopKeeping := context.WithCancel(t.Context())
	defer stopKeeping()
	go w.core.ReconcileStops(keeping, 500*time.Millisecond, func(err error) { t.Log("keeper:", err) })
	admin := client(t, w.access)
	submit := func(t *testing.T, name, role string) JobID {
		t.Helper()
		text := fmt.Sprintf("protocolVersion: 2\nname: %s\ntype: job\nprerequisites: [{name: i, type: dockerimage, uri: a/b}]\n"+
			"taskRoles:\n  worker:\n    dockerImage: i\n    commands: [ls]\n%s", name, role)
		if _, err := admin.Submit(t.Context(), Submission{Protocol: []byte(text)}); err != nil {
			t.Fatal(err)
		}
		return JobID{AdminUser, name}
	}
	const small = "    resourcePerInstance: {cpu: 0.01, memoryMB: 16, gpu: 0}\n"

	t.Run("stopped while it runs", func(t *testing.T) {
		id := submit(t, "train", "    instances: 2\n"+small)
		w.runPods(t, id, 2)
		w.is(t, id, job.StateRunning)
		if err := admin.Stop(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		w.is(t, id, job.StateStopping)
		w.endPods(t, id, 143)
		w.is(t, id, job.StateStopped)
		eventually(t, "it left its queue", func() string { return w.queue(t, id) })
		if held := w.held(t); held != "" {
			t.Errorf("it still holds quota: %s", held)
		}
	})
	t.Run("stopped in the queue", func(t *testing.T) {
		id := submit(t, "large", "    resourcePerInstance: {cpu: 2, memoryMB: 16, gpu: 0}\n")
		eventually(t, "Kueue says why it waits", func() string {
			s := w.is(t, id, job.StateWaiting)
			if strings.Contains(s.Message, "it cannot start: its virtual cluster has") {
				return ""
			}
			return s.Message
		})
		if err := admin.Stop(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		w.is(t, id, job.StateStopped)
		eventually(t, "it left its queue", func() string { return w.queue(t, id) })
	})
	t.Run("succeeds when enough tasks have", func(t *testing.T) {
		id := submit(t, "sweep", "    instances: 3\n    completion: {minSucceededInstances: 2}\n"+small)
		w.runPods(t, id, 3)
		w.endPod(t, id, 0, 0, false)
		w.endPod(t, id, 2, 0, false)
		w.endPods(t, id, 143) // the third
		s := w.is(t, id, job.StateSucceeded)
		if s.Count(job.StateSucceeded) != 2 {
			t.Errorf("%+v", s.TaskRoles)
		}
		if err := admin.Stop(t.Context(), id); pai.CodeOf(err) != pai.CodeRefused {
			t.Errorf("stopping it: %v", err)
		}
	})
	t.Run("fails with its task", func(t *testing.T) {
		id := submit(t, "broken", "    instances: 2\n"+small)
		w.runPods(t, id, 2)
		w.endPod(t, id, 1, 7, false)
		w.endPods(t, id, 143) // the other one
		s := w.is(t, id, job.StateFailed)
		if code := s.TaskRoles[0].Tasks[1].ExitCode; code == nil || *code != 7 {
			t.Errorf("exit code %v", code)
		}
	})
	t.Run("continues with as many failed tasks as it tolerates", func(t *testing.T) {
		id := submit(t, "tolerant", "    instances: 3\n    completion: {minFailedInstances: 2}\n"+small+"jobRetryCount: 5\n")
		w.runPods(t, id, 3)
		w.endPod(t, id, 0, 7, false)
		w.is(t, id, job.StateRunning)
		w.endPod(t, id, 1, 0, false)
		w.endPod(t, id, 2, 0, false)
		s := w.is(t, id, job.StateSucceeded)
		if s.Count(job.StateFailed) != 1 || s.Retries != 0 || !strings.Contains(s.Message, "tasks failed") {
			t.Errorf("%+v", s)
		}
	})
	t.Run("fails with more failed tasks than it tolerates", func(t *testing.T) {
		id := submit(t, "intolerant", "    instances: 3\n    completion: {minFailedInstances: 2}\n"+small)
		w.runPods(t, id, 3)
		w.endPod(t, id, 0, 7, false)
		w.endPod(t, id, 1, 7, false)
		w.endPods(t, id, 143) // the third
		w.is(t, id, job.StateFailed)
	})
	t.Run("fails after its time limit", func(t *testing.T) {
		id := submit(t, "limited", small+"extras: {timeLimit: 3s}\n")
		w.runPods(t, id, 1)
		w.endPods(t, id, 143)
		if s := w.is(t, id, job.StateFailed); !strings.Contains(s.Message, "time limit of 3s") {
			t.Errorf("%+v", s)
		}
	})
	t.Run("has the priority that it asks for", func(t *testing.T) {
		id := submit(t, "urgent", "    resourcePerInstance: {cpu: 2, memoryMB: 16, gpu: 0}\nextras: {hivedScheduler: {jobPriorityClass: prod}}\n")
		eventually(t, "Kueue has its priority", func() string {
			all, err := w.core.workloadsOf(t.Context(), mustFind(t, w, id))
			if err != nil || len(all) != 1 {
				return fmt.Sprint(len(all), err)
			}
			if got, _, _ := unstructured.NestedInt64(all[0].Object, "spec", "priority"); got != 100 {
				return fmt.Sprint(got)
			}
			return ""
		})
		if err := admin.Stop(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		w.is(t, id, job.StateStopped)
	})
	t.Run("takes its Secret with it", func(t *testing.T) {
		if _, err := admin.Submit(t.Context(), Submission{Protocol: secretive("secretive")}); err != nil {
			t.Fatal(err)
		}
		id := JobID{AdminUser, "secretive"}
		w.runPods(t, id, 2)
		w.endPod(t, id, 0, 0, false)
		w.endPod(t, id, 1, 0, false)
		w.is(t, id, job.StateSucceeded)
		if err := w.core.deleteEnded(t.Context(), endedJob{ref: kube.RefOf(mustFind(t, w, id)), uid: mustFind(t, w, id).GetUID(), ended: time.Now()}); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the Secret is deleted", func() string {
			list, err := w.cluster.Client.Clientset().CoreV1().Secrets("pai-vc-default").List(t.Context(), metav1.ListOptions{LabelSelector: pai.LabelJob})
			if err != nil || len(list.Items) > 0 {
				return fmt.Sprint(len(list.Items), err)
			}
			return ""
		})
	})
	t.Run("retries its task as often as it may", func(t *testing.T) {
		id := submit(t, "flaky", "    taskRetryCount: 1\n"+small)
		w.runPods(t, id, 1)
		w.endPod(t, id, 0, 137, true) // the platform's doing: not counted
		eventually(t, "it runs again", func() string { return w.startedPods(t, id, 2) })
		w.runPods(t, id, 1)
		if s := w.is(t, id, job.StateRunning); s.TaskRoles[0].Tasks[0].Retries != 0 {
			t.Errorf("a disruption counts as %d retries", s.TaskRoles[0].Tasks[0].Retries)
		}
		w.endPod(t, id, 0, 1, false)
		eventually(t, "it runs again", func() string { return w.startedPods(t, id, 3) })
		w.runPods(t, id, 1)
		if s := w.is(t, id, job.StateRunning); s.TaskRoles[0].Tasks[0].Retries != 1 {
			t.Errorf("%d retries, want 1", s.TaskRoles[0].Tasks[0].Retries)
		}
		w.endPod(t, id, 0, 1, false)
		w.is(t, id, job.StateFailed)
	})
	t.Run("is started again as a whole", func(t *testing.T) {
		id := submit(t, "again", small+"jobRetryCount: 1\n")
		w.runPods(t, id, 1)
		w.endPod(t, id, 0, 1, false)
		eventually(t, "a new pod", func() string {
			s, err := w.core.Get(t.Context(), id)
			if err != nil || s.Retries != 1 || s.TaskRoles[0].Tasks[0].State != job.StateWaiting {
				return fmt.Sprint(s, err)
			}
			return ""
		})
		w.runPods(t, id, 1)
		w.endPod(t, id, 0, 0, false)
		w.is(t, id, job.StateSucceeded)
	})
	t.Run("keeps running under other controllers, and stopped jobs stay stopped", func(t *testing.T) {
		id := submit(t, "long", small)
		w.runPods(t, id, 1)
		before := w.is(t, id, job.StateRunning)
		stopped := []JobID{{AdminUser, "train"}, {AdminUser, "large"}}
		for _, s := range stopped {
			w.deleteWorkload(t, s) // as if a newer Kueue had to re-create it
		}
		c.stop("jobset")
		c.stop("kueue")
		apply(t, w, definitions(t, "jobset/v0.12.0", "sigs.k8s.io/jobset", "*.yaml"))
		c.start(t, "sigs.k8s.io/jobset", "v0.12.0", jobsetConfig)
		c.start(t, "sigs.k8s.io/kueue", "v0.19.2", kueueConfig)
		next := submit(t, "next", small)
		w.runPods(t, next, 1) // so both have come to do something
		w.is(t, next, job.StateRunning)
		after := w.is(t, id, job.StateRunning)
		if fmt.Sprint(after.TaskRoles) != fmt.Sprint(before.TaskRoles) {
			t.Errorf("was %+v, is %+v", before.TaskRoles, after.TaskRoles)
		}
		for _, id := range stopped {
			w.is(t, id, job.StateStopped)
			if pods := w.pods(t, id); len(pods) > 0 {
				t.Errorf("%s has pods again: %d", id, len(pods))
			}
		}
	})
}

func (w *world) pods(t *testing.T, id JobID) []corev1.Pod {
	t.Helper()
	list, err := w.cluster.Client.Clientset().CoreV1().Pods("pai-vc-default").List(t.Context(), metav1.ListOptions{
		LabelSelector: pai.LabelJob + "=" + job.ObjectName(id.User, id.Name),
	})
	if err != nil {
		t.Fatal(err)
	}
	return list.Items
}

// startedPods says what is missing until so many pods were made for the job.
func (w *world) startedPods(t *testing.T, id JobID, n int) string {
	if got := len(w.pods(t, id)); got < n {
		return fmt.Sprintf("%d pods of %d", got, n)
	}
	return ""
}

// runPods plays the scheduler and the kubelet for exactly n waiting pods.
func (w *world) runPods(t *testing.T, id JobID, n int) {
	t.Helper()
	var waiting []corev1.Pod
	eventually(t, fmt.Sprintf("%d pods of %s", n, id), func() string {
		waiting = nil
		for _, p := range w.pods(t, id) {
			if p.Status.Phase == corev1.PodPending && p.DeletionTimestamp == nil {
				waiting = append(waiting, p)
			}
		}
		if len(waiting) != n {
			return fmt.Sprintf("%d wait", len(waiting))
		}
		return ""
	})
	for _, p := range waiting {
		err := w.cluster.Client.Clientset().CoreV1().Pods(p.Namespace).Bind(t.Context(), &corev1.Binding{
			ObjectMeta: metav1.ObjectMeta{Name: p.Name, Namespace: p.Namespace}, Target: corev1.ObjectReference{Kind: "Node", Name: "gpu-01"},
		}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		w.report(t, p, corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{{
			Name: job.ContainerName, ContainerID: "containerd://" + string(p.UID), Image: "a/b", ImageID: "sha256:0", Ready: true,
			State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}},
		}}})
	}
}

// endPod ends the running pod of a task with an exit code; disrupted, by the platform.
func (w *world) endPod(t *testing.T, id JobID, index, code int, disrupted bool) {
	t.Helper()
	for _, p := range w.pods(t, id) {
		if p.Status.Phase == corev1.PodRunning && p.Annotations["batch.kubernetes.io/job-completion-index"] == fmt.Sprint(index) {
			w.end(t, p, code, disrupted)
			return
		}
	}
	t.Fatalf("no pod of task %d of %s runs", index, id)
}

// endPods waits until all running pods must end, and ends them like a kubelet.
func (w *world) endPods(t *testing.T, id JobID, code int) {
	t.Helper()
	eventually(t, "its pods must end", func() string {
		for _, p := range w.pods(t, id) {
			if p.DeletionTimestamp == nil && p.Status.Phase == corev1.PodRunning {
				return p.Name + " keeps running"
			}
		}
		return ""
	})
	for _, p := range w.pods(t, id) {
		if p.Status.Phase != corev1.PodRunning {
			continue
		}
		if got := *p.DeletionGracePeriodSeconds; got != job.GracePeriod {
			t.Errorf("pod %s has %d s to end", p.Name, got)
		}
		w.end(t, p, code, false)
		now := int64(0)
		if err := w.cluster.Client.Clientset().CoreV1().Pods(p.Namespace).Delete(t.Context(), p.Name, metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
			t.Fatal(err)
		}
	}
}

func (w *world) end(t *testing.T, p corev1.Pod, code int, disrupted bool) {
	t.Helper()
	status := corev1.PodStatus{Phase: corev1.PodSucceeded, ContainerStatuses: p.Status.ContainerStatuses}
	if code != 0 {
		status.Phase = corev1.PodFailed
	}
	if disrupted {
		status.Conditions = []corev1.PodCondition{{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: "Test"}}
	}
	status.ContainerStatuses[0].Ready = false
	status.ContainerStatuses[0].State = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
		ExitCode: int32(code), FinishedAt: metav1.Now(), StartedAt: metav1.Now(), ContainerID: status.ContainerStatuses[0].ContainerID,
	}}
	w.report(t, p, status)
}

func (w *world) report(t *testing.T, p corev1.Pod, status corev1.PodStatus) {
	t.Helper()
	data, err := json.Marshal(map[string]any{"status": status})
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.cluster.Client.Clientset().CoreV1().Pods(p.Namespace).Patch(t.Context(), p.Name, types.StrategicMergePatchType, data, metav1.PatchOptions{}, "status")
	if err != nil {
		t.Fatal(err)
	}
}

// deleteWorkload deletes the Kueue workload of a job.
func (w *world) deleteWorkload(t *testing.T, id JobID) {
	t.Helper()
	obj, err := w.core.find(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	all, err := w.core.workloadsOf(t.Context(), obj)
	if err != nil || len(all) != 1 {
		t.Fatalf("%d workloads of %s: %v", len(all), id, err)
	}
	if err := w.cluster.Client.Patch(t.Context(), kube.RefOf(&all[0]), []byte(`{"metadata":{"finalizers":null}}`)); err != nil {
		t.Fatal(err)
	}
	if err := w.cluster.Client.Delete(t.Context(), kube.RefOf(&all[0]), all[0].GetUID()); err != nil {
		t.Fatal(err)
	}
}

// held names the workloads that hold quota.
func (w *world) held(t *testing.T) string {
	t.Helper()
	list, err := w.cluster.Client.Dynamic().Resource(newerWorkloads).Namespace("pai-vc-default").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, wl := range list.Items {
		if quota, err := quotaOf(wl); err != nil || quota.Status == metav1.ConditionTrue {
			names = append(names, wl.GetName())
		}
	}
	return strings.Join(names, ", ")
}
