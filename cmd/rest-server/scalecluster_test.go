//go:build scale

package main

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	jobset "sigs.k8s.io/jobset/api/jobset/v1alpha2"

	"pai.dev/pai/internal/job"
)

// clusterJob is a job that the cluster has, with the pods of its tasks.
type clusterJob struct {
	set  *unstructured.Unstructured
	pods []corev1.Pod
}

// protocol is the file of a job with two tasks.
func protocol(name, vc string) string {
	return fmt.Sprintf(`protocolVersion: 2
name: %s
type: job
description: trains a model on what is below the storage, and writes checkpoints there
prerequisites:
  - {name: example, type: dockerimage, uri: pai.local/example:v1}
parameters: {interval: 1s, epochs: 90, batch: 256}
taskRoles:
  worker:
    instances: 2
    dockerImage: example
    resourcePerInstance: {cpu: 4, memoryMB: 8192, gpu: 0}
    commands:
      - echo "$PAI_JOB_NAME of $PAI_USER_NAME, $PAI_CURRENT_TASK_ROLE_NAME $PAI_CURRENT_TASK_ROLE_CURRENT_TASK_INDEX"
      - python3 train.py --interval <%% $parameters.interval %%> --epochs <%% $parameters.epochs %%> --batch <%% $parameters.batch %%>
defaults: {virtualCluster: %s}
`, name, vc)
}

// clusterJobs are jobs in the cluster. One in 40 runs, one in 40 waits, the others have ended.
func clusterJobs(t *testing.T, n int) (jobs []clusterJob) {
	t.Helper()
	r := rand.New(rand.NewPCG(3, 4)) //nolint:gosec // the same jobs each time
	for i := range n {
		vc, user, created := virtualClusters[i%len(virtualClusters)], userName(i%users), time.Date(2026, 11, 29, 0, 0, 0, 0, time.UTC).Add(-time.Duration(n-i)*5*time.Minute)
		text := protocol(fmt.Sprintf("now_%04d", i), vc)
		spec, _, err := job.Parse([]byte(text), job.ParseOptions{VirtualClusters: virtualClusters})
		if err != nil {
			t.Fatal(err)
		}
		objects, err := spec.Objects(user, []byte(text), job.ObjectName(user, spec.Name)+"-"+hex(r, 8))
		if err != nil {
			t.Fatal(err)
		}
		set := objects.JobSet
		set.SetUID(types.UID(uid(r)))
		set.SetResourceVersion(strconv.Itoa(1000 + i))
		set.SetCreationTimestamp(metav1.NewTime(created))
		managed(set, "rest-server")
		j := clusterJob{set: set}
		phase := corev1.PodSucceeded
		switch i % 40 {
		case 0:
			phase = corev1.PodRunning
		case 1:
			phase = corev1.PodPending
		default:
			setCondition(set, created.Add(time.Hour))
		}
		if phase != corev1.PodPending {
			j.pods = podsOf(t, r, set, phase)
		}
		jobs = append(jobs, j)
	}
	return jobs
}

// setCondition completes a job.
func setCondition(set *unstructured.Unstructured, at time.Time) {
	set.Object["status"] = map[string]any{"conditions": []any{map[string]any{"type": "Completed", "status": "True", "reason": "AllJobsCompleted",
		"message": "jobset completed successfully", "lastTransitionTime": at.Format(time.RFC3339)}}, "restarts": int64(0), "terminalState": "Completed"}
}

func podsOf(t *testing.T, r *rand.Rand, set *unstructured.Unstructured, phase corev1.PodPhase) (pods []corev1.Pod) {
	t.Helper()
	var js jobset.JobSet
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(set.Object, &js); err != nil {
		t.Fatal(err)
	}
	for _, rj := range js.Spec.ReplicatedJobs {
		for i := range int(*rj.Template.Spec.Completions) {
			template := rj.Template.Spec.Template.DeepCopy()
			p := corev1.Pod{ObjectMeta: template.ObjectMeta, Spec: template.Spec}
			p.Name, p.Namespace, p.UID = fmt.Sprintf("%s-%s-0-%d-%s", js.Name, rj.Name, i, hex(r, 5)), js.Namespace, types.UID(uid(r))
			p.Labels, p.Annotations = with(p.Labels, js.Labels), with(p.Annotations, map[string]string{
				job.AnnotationTaskRole: rj.Template.Annotations[job.AnnotationTaskRole], batchv1.JobCompletionIndexAnnotation: strconv.Itoa(i)})
			p.ResourceVersion = js.ResourceVersion
			p.CreationTimestamp, p.Spec.NodeName = js.CreationTimestamp, fmt.Sprintf("gpu-%03d", r.IntN(200))
			p.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "kube-controller-manager", Operation: "Update", FieldsType: "FieldsV1", FieldsV1: &metav1.FieldsV1{Raw: encodeJSON(t, fieldsOf(asMap(t, p)))}}}
			p.Status = statusOf(r, phase, js.CreationTimestamp)
			pods = append(pods, p)
		}
	}
	return pods
}

func statusOf(r *rand.Rand, phase corev1.PodPhase, at metav1.Time) corev1.PodStatus {
	s := corev1.PodStatus{Phase: phase, HostIP: "10.0.0.1", PodIP: "10.1.2.3", StartTime: &at}
	for _, c := range []corev1.PodConditionType{"PodReadyToStartContainers", corev1.PodInitialized, corev1.PodReady, corev1.ContainersReady, corev1.PodScheduled} {
		s.Conditions = append(s.Conditions, corev1.PodCondition{Type: c, Status: corev1.ConditionTrue, LastTransitionTime: at})
	}
	state := corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: at}}
	if phase == corev1.PodSucceeded {
		state = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: "Completed", StartedAt: at, FinishedAt: metav1.NewTime(at.Add(time.Hour)), ContainerID: "containerd://" + hex(r, 64)}}
	}
	s.ContainerStatuses = []corev1.ContainerStatus{{Name: job.ContainerName, State: state, Image: "pai.local/example:v1", ImageID: "sha256:" + hex(r, 64), ContainerID: "containerd://" + hex(r, 64)}}
	return s
}

func asMap(t *testing.T, p corev1.Pod) map[string]any {
	t.Helper()
	m, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&p)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func with(all, more map[string]string) map[string]string {
	together := map[string]string{}
	for _, m := range []map[string]string{all, more} {
		for k, v := range m {
			together[k] = v
		}
	}
	return together
}
