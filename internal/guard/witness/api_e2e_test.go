//go:build e2e

package witness_test

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"pai.dev/pai/internal/guard/witness"
	"pai.dev/pai/internal/observe/running"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/test/kubetest"
)

// world is a real API without machines. The tests report what a kubelet and a
// machine would report.
type world struct {
	*kubetest.Cluster
	t           *testing.T
	step        atomic.Value
	alive       atomic.Value // IDs of the containers that live on the machine, a []running.Container
	unreachable atomic.Bool
}

func newWorld(t *testing.T) *world {
	w := &world{Cluster: kubetest.Start(t), t: t}
	w.step.Store("")
	w.alive.Store([]running.Container(nil))
	ctx := t.Context()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
	_, err := w.Client.Clientset().CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{})
	check(t, err)
	w.await("the default service account", func() bool {
		sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
		_, err := w.Client.Clientset().CoreV1().ServiceAccounts(namespace).Create(ctx, sa, metav1.CreateOptions{})
		return err == nil || strings.Contains(err.Error(), "already exists")
	})
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "gpu-01"}}
	node, err = w.Client.Clientset().CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{})
	check(t, err)
	node.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	_, err = w.Client.Clientset().CoreV1().Nodes().UpdateStatus(ctx, node, metav1.UpdateOptions{})
	check(t, err)
	w.serveJobSets()
	return w
}

func (w *world) await(what string, ok func() bool) {
	w.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			w.t.Fatalf("waited 30 s for %s", what)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// serveJobSets adds JobSets to the API, without their controller.
func (w *world) serveJobSets() {
	crds := schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	type object = map[string]any
	crd := object{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": object{"name": "jobsets.jobset.x-k8s.io", "annotations": object{"api-approved.kubernetes.io": "unapproved, for a test"}},
		"spec": object{"group": "jobset.x-k8s.io", "scope": "Namespaced",
			"names": object{"plural": "jobsets", "singular": "jobset", "kind": "JobSet", "listKind": "JobSetList"},
			"versions": []any{object{"name": "v1alpha2", "served": true, "storage": true,
				"schema": object{"openAPIV3Schema": object{"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}}},
	}
	_, err := w.Client.Dynamic().Resource(crds).Create(w.t.Context(), &unstructured.Unstructured{Object: crd}, metav1.CreateOptions{})
	check(w.t, err)
	w.await("JobSets to be served", func() bool {
		_, err := w.Client.Dynamic().Resource(running.JobSets()).List(w.t.Context(), metav1.ListOptions{})
		return err == nil
	})
}

// job creates a job with one running container.
func (w *world) job(name string) {
	set := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": "JobSet",
		"metadata": map[string]any{"name": name}}}
	_, err := w.Client.Dynamic().Resource(running.JobSets()).Namespace(namespace).Create(w.t.Context(), set, metav1.CreateOptions{})
	check(w.t, err)
	pod, err := w.Client.Clientset().CoreV1().Pods(namespace).Create(w.t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{pai.LabelJob: name, pai.LabelUser: "ada"},
			Annotations: map[string]string{pai.AnnotationJobName: name}},
		Spec: corev1.PodSpec{NodeName: "gpu-01", Containers: []corev1.Container{{Name: "main", Image: "pai.local/x:y"}}},
	}, metav1.CreateOptions{})
	check(w.t, err)
	w.status(name, func(s *corev1.ContainerStatus) {
		s.ContainerID = "containerd://" + name + "-0"
		s.State.Running = &corev1.ContainerStateRunning{StartedAt: metav1.Now()}
	})
	list := w.alive.Load().([]running.Container)
	w.alive.Store(append(list[:len(list):len(list)], running.Container{ID: name + "-0", Namespace: namespace, Pod: name, PodUID: string(pod.UID), Name: "main"}))
}

// dies removes a container from its machine.
func (w *world) dies(name string) {
	var left []running.Container
	for _, c := range w.alive.Load().([]running.Container) {
		if c.Pod != name {
			left = append(left, c)
		}
	}
	w.alive.Store(left)
}

// status changes the status of a container as the kubelet reports it.
func (w *world) status(name string, change func(s *corev1.ContainerStatus)) {
	w.t.Helper()
	pods := w.Client.Clientset().CoreV1().Pods(namespace)
	pod, err := pods.Get(w.t.Context(), name, metav1.GetOptions{})
	check(w.t, err)
	pod.Status.Phase = corev1.PodRunning
	if len(pod.Status.ContainerStatuses) == 0 {
		pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "main", Image: "x"}}
	}
	change(&pod.Status.ContainerStatuses[0])
	_, err = pods.UpdateStatus(w.t.Context(), pod, metav1.UpdateOptions{})
	check(w.t, err)
}

func ended(code int32) func(s *corev1.ContainerStatus) {
	return func(s *corev1.ContainerStatus) {
		s.State = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, ContainerID: s.ContainerID, FinishedAt: metav1.Now()}}
	}
}

func (w *world) remove(name string) {
	now := int64(0)
	check(w.t, w.Client.Clientset().CoreV1().Pods(namespace).Delete(w.t.Context(), name, metav1.DeleteOptions{GracePeriodSeconds: &now}))
}

func (w *world) stopJob(name string) {
	patch := []byte(`{"metadata":{"annotations":{"` + pai.AnnotationStopped + `":"2026-01-01T00:00:00Z by ada"}}}`)
	_, err := w.Client.Dynamic().Resource(running.JobSets()).Namespace(namespace).Patch(w.t.Context(), name, types.MergePatchType, patch, metav1.PatchOptions{})
	check(w.t, err)
}

func (w *world) witness(b *witness.Baseline) *witness.Witness {
	w.t.Helper()
	watch, err := witness.Start(w.t.Context(), witness.StartOptions{REST: w.Config, Baseline: b,
		Machines: func(context.Context, []string) map[string]running.MachineReport {
			if w.unreachable.Load() {
				return nil
			}
			return map[string]running.MachineReport{"gpu-01": {Boot: "one", Containers: w.alive.Load().([]running.Container)}}
		},
		Steps: func() []witness.Step { return []witness.Step{{ID: w.step.Load().(string)}} }})
	check(w.t, err)
	return watch
}

func TestWitnessReportsEveryEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, name := range []string{"runs", "ends", "fails", "removed", "stopped", "dies-unobserved"} {
		w.job(name)
	}
	watch := w.witness(nil)
	w.step.Store("one")
	time.Sleep(500 * time.Millisecond)
	w.status("ends", ended(0))
	w.dies("ends")
	w.status("fails", ended(3))
	w.dies("fails")
	w.await("the failure", func() bool { return len(watch.View().Jobs.Failed) == 1 })
	w.step.Store("two")
	time.Sleep(500 * time.Millisecond)
	w.stopJob("stopped")
	w.remove("stopped")
	w.dies("stopped")
	w.remove("removed")
	w.dies("removed")
	w.await("the deletion", func() bool { return len(watch.Interruptions()) == 1 })

	w.step.Store("no API")
	w.StopAPIServer()
	stopped := time.Now()
	time.Sleep(time.Second)
	w.dies("dies-unobserved")
	time.Sleep(5 * time.Second)
	if s := watch.View(); s.API.Since.IsZero() {
		t.Errorf("got %+v, want an API outage", s)
	}
	w.step.Store("after")
	w.StartAPIServer()
	w.await("the API", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := w.Client.Clientset().CoreV1().Nodes().Get(ctx, "gpu-01", metav1.GetOptions{})
		return err == nil
	})
	w.status("dies-unobserved", func(s *corev1.ContainerStatus) {
		ended(137)(s)
		s.State.Terminated.FinishedAt = metav1.NewTime(stopped.Add(time.Second))
	})
	w.await("the unobserved end", func() bool { return len(watch.Interruptions()) == 2 })
	outage := time.Since(stopped)
	r := watch.Stop(t.Context())
	t.Logf("%+v", r)

	if r.Jobs.Before != 6 || r.Jobs.After != 1 || r.Jobs.Finished != 2 || len(r.Jobs.Failed) != 1 || len(r.Jobs.Interrupted) != 1 || len(r.Jobs.Unknown) != 1 || !r.Jobs.Balanced() {
		t.Fatalf("got %+v", r.Jobs)
	}
	ends := slices.Concat(r.Jobs.Failed, r.Jobs.Interrupted, r.Jobs.Unknown)
	for i, want := range []struct{ job, step, cause string }{
		{"ada~fails", "one", "exit code 3"}, {"ada~removed", "two", "its pod was deleted"}, {"ada~dies-unobserved", "no API", "exit code 137"}} {
		if got := ends[i]; got.Job != want.job || got.Step != want.step || !strings.Contains(got.Cause, want.cause) || got.Machine != "gpu-01" {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	for what, a := range map[string]pai.Availability{"new": r.API.Availability, "kept": r.API.Kept} {
		if a.OutageSeconds < 6 || a.LongestGapSeconds < 6 || a.OutageSeconds > outage.Seconds()+5 {
			t.Errorf("%s: got %+v, want about %v", what, a, outage)
		}
	}
	if r.SubmissionSeconds < 5 {
		t.Errorf("got %v s without submission, want at least 5", r.SubmissionSeconds)
	}
}

func TestWitnessResumes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.job("runs")
	w.job("fails")
	w.step.Store("first")
	one := w.witness(nil)
	time.Sleep(time.Second)
	kept := one.Baseline()
	one.Stop(t.Context())
	w.status("fails", ended(1))
	w.dies("fails")
	time.Sleep(2 * time.Second)
	w.step.Store("second")
	r := w.witness(&kept).Stop(t.Context())
	if r.Jobs.Before != 2 || r.Jobs.After != 1 || len(r.Jobs.Unknown) != 1 || r.Jobs.Unknown[0].Step != "first" {
		t.Errorf("got %+v, want the job that failed between the runs, with the first step", r.Jobs)
	}
	if r.UnobservedSeconds < 2 || r.UnobservedSeconds > 30 {
		t.Errorf("got %v s unobserved, want a little more than 2", r.UnobservedSeconds)
	}
}

func TestWitnessReportsUnobservedJob(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.job("runs")
	watch := w.witness(nil)
	w.unreachable.Store(true)
	w.StopAPIServer()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	r := watch.Stop(ctx)
	if r.Jobs.After != 0 || len(r.Jobs.Unknown) != 1 || !strings.HasPrefix(r.Jobs.Unknown[0].Cause, "unobserved") {
		t.Errorf("got %+v, want the job as unobserved", r.Jobs)
	}
}
