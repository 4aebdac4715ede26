package operation

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"

	"pai.dev/pai/internal/cluster"
	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/pai"
)

// store is a made-up etcd with the objects of jobs, in the forms that the API
// server stores.
type store struct {
	t       *testing.T
	data    cluster.JobData
	version string // of stored workloads
}

const storedIn = "pai-vc-default"

func objectOf(name string) string { return job.ObjectName("ann", name) }

func newStore(t *testing.T) *store {
	t.Helper()
	return &store{t, cluster.JobData{}, "v1beta1"}
}

// clone is the store at a later time.
func (s *store) clone() *store { return &store{s.t, maps.Clone(s.data), s.version} }

// job puts the JobSet of a job of user ann and its workload; change changes it.
func (s *store) job(name, uid string, change func(o map[string]any)) {
	s.t.Helper()
	object := objectOf(name)
	o := map[string]any{"apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": "JobSet",
		"metadata": map[string]any{"name": object, "namespace": storedIn, "uid": uid, "creationTimestamp": "2026-11-20T10:00:00Z",
			"labels":      map[string]any{pai.LabelJob: object, pai.LabelUser: "ann", pai.LabelVirtualCluster: "default"},
			"annotations": map[string]any{pai.AnnotationJobName: name}},
		"spec": map[string]any{"suspend": false, "replicatedJobs": []any{map[string]any{"name": "worker", "template": map[string]any{"spec": map[string]any{"parallelism": 1, "completions": 1}}}}}}
	if change != nil {
		change(o)
	}
	s.putJSON("jobset.x-k8s.io/jobsets", object, o)
	s.putJSON("kueue.x-k8s.io/workloads", "jobset-"+object+"-1a2b3", map[string]any{"apiVersion": "kueue.x-k8s.io/" + s.version, "kind": "Workload",
		"metadata": map[string]any{"name": "jobset-" + object, "namespace": storedIn, "ownerReferences": []any{map[string]any{"kind": "JobSet", "name": object, "apiVersion": "x", "uid": uid}}}})
	s.put("configmaps", object+"-texts", &corev1.ConfigMap{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: metav1.ObjectMeta{Name: object + "-texts", Namespace: storedIn, Labels: map[string]string{pai.LabelJob: object}}})
	s.put("jobs", object+"-worker-0", &batchv1.Job{TypeMeta: metav1.TypeMeta{APIVersion: "batch/v1", Kind: "Job"},
		ObjectMeta: metav1.ObjectMeta{Name: object + "-worker-0", Namespace: storedIn, Labels: map[string]string{pai.LabelJob: object}}})
}

func ended(condition string) func(map[string]any) {
	return func(o map[string]any) {
		o["status"] = map[string]any{"terminalState": condition, "conditions": []any{map[string]any{
			"type": condition, "status": "True", "lastTransitionTime": "2026-11-20T11:00:00Z", "reason": "x", "message": "x"}}}
	}
}

func stopped(o map[string]any) {
	o["metadata"].(map[string]any)["annotations"].(map[string]any)[pai.AnnotationStopped] = "2026-11-20T11:00:00Z by ann"
	o["spec"].(map[string]any)["suspend"] = true
}

func (s *store) podKey(name, suffix string) string {
	return "/registry/pods/" + storedIn + "/" + objectOf(name) + "-worker-0-0-" + suffix
}

// pod puts a pod of a job that runs on gpu-01.
func (s *store) pod(name, suffix string) {
	s.t.Helper()
	object := objectOf(name)
	pod := &corev1.Pod{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}, ObjectMeta: metav1.ObjectMeta{Name: object + "-worker-0-0-" + suffix, Namespace: storedIn,
		UID: types.UID(name + suffix), Labels: map[string]string{pai.LabelJob: object, pai.LabelUser: "ann", pai.LabelTaskRole: "worker"},
		Annotations: map[string]string{pai.AnnotationJobName: name, "batch.kubernetes.io/job-completion-index": "0"}},
		Spec: corev1.PodSpec{NodeName: "gpu-01"},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{{Name: job.ContainerName, ContainerID: "containerd://" + name + suffix,
			State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(time.Unix(1e9, 0))}}}}}}
	s.put("pods", pod.Name, pod)
}

func (s *store) put(dir, name string, o runtime.Object) {
	s.t.Helper()
	var b bytes.Buffer
	if err := protobuf.NewSerializer(scheme.Scheme, scheme.Scheme).Encode(o, &b); err != nil {
		s.t.Fatal(err)
	}
	s.data["/registry/"+dir+"/"+storedIn+"/"+name] = b.Bytes()
}

func (s *store) putJSON(dir, name string, o map[string]any) {
	s.t.Helper()
	data, err := json.Marshal(o)
	if err != nil {
		s.t.Fatal(err)
	}
	s.data["/registry/"+dir+"/"+storedIn+"/"+name] = data
}

// remove removes all objects of a job.
func (s *store) remove(name string) {
	maps.DeleteFunc(s.data, func(key string, _ []byte) bool { return strings.Contains(key, objectOf(name)) })
}

// lossOf is the loss between two stores.
func lossOf(then, now *store) cluster.Loss {
	loss := cluster.Loss{Snapshot: "s.db", Taken: time.Unix(1.7e9, 0), Then: then.data, Now: now.data, Created: map[string]bool{}}
	for key := range now.data {
		if then.data[key] == nil {
			loss.Created[key] = true
		}
	}
	return loss
}

// worlds is a snapshot, and etcd after much happened.
func worlds(t *testing.T) (then, now *store) {
	t.Helper()
	then = newStore(t)
	for _, name := range []string{"same", "done", "stopped", "removed", "retried", "again"} {
		then.job(name, "1", nil)
		then.pod(name, "a")
	}
	then.job("old", "1", ended("Completed"))
	now = then.clone()
	now.job("done", "1", ended("Completed"))
	now.job("stopped", "1", stopped)
	delete(now.data, now.podKey("stopped", "a"))
	now.remove("removed")
	now.job("retried", "1", func(o map[string]any) { o["status"] = map[string]any{"restarts": 1} })
	delete(now.data, now.podKey("retried", "a"))
	now.pod("retried", "b")
	now.remove("again")
	now.job("again", "2", nil) // another job of the same name
	now.pod("again", "b")
	now.job("new", "1", nil)
	now.pod("new", "a")
	now.job("queued", "1", func(o map[string]any) { o["spec"].(map[string]any)["suspend"] = true })
	now.job("brief", "1", ended("Failed"))
	return then, now
}

func TestChangedJobs(t *testing.T) {
	t.Parallel()
	then, now := worlds(t)
	changed, err := changedJobs(lossOf(then, now))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, f := range changed {
		got[f.Job] = strings.Join([]string{f.State, "→", f.Restored, string(f.Record), string(f.Containers)}, " ")
		if f.User != "ann" || f.Submitted.IsZero() || f.RunsAgain != "" {
			t.Errorf("got %+v", f.RestoredJob)
		}
	}
	want := map[string]string{
		"ann~done":    "SUCCEEDED → RUNNING kept ended",
		"ann~stopped": "STOPPED → RUNNING kept ended",
		"ann~removed": " → RUNNING removed ended",
		"ann~retried": "RUNNING → RUNNING earlier unknown",
		"ann~again":   "RUNNING → RUNNING lost unknown",
		"ann~new":     "RUNNING →  lost unknown",
		"ann~queued":  "WAITING →  lost none",
		"ann~brief":   "FAILED →  kept ended",
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	var ends []string
	for _, j := range endedBy(changed) {
		ends = append(ends, j.Name)
	}
	if slices.Sort(ends); !slices.Equal(ends, []string{"again", "new", "retried"}) {
		t.Errorf("got %v that end, want again, new, and retried", ends)
	}
	notes := strings.Join(changedNotes(changed), "\n")
	for _, text := range []string{"submitted since the snapshot, whose records will be lost: ann~again (RUNNING), ann~new (RUNNING), ann~queued (WAITING)",
		"stay as they are: ann~brief (FAILED), ann~done (SUCCEEDED), ann~stopped (STOPPED)", "stay removed: ann~removed", "ann~retried (RUNNING, was RUNNING)"} {
		if !strings.Contains(notes, text) {
			t.Errorf("got notes without %q:\n%s", text, notes)
		}
	}
}

// No job that has ended or was removed runs again, and no other record changes.
func TestCarriedRecords(t *testing.T) {
	t.Parallel()
	then, now := worlds(t)
	loss := lossOf(then, now)
	changed, err := changedJobs(loss)
	if err != nil {
		t.Fatal(err)
	}
	carried, err := loss.Carried(carryOf(changed))
	if err != nil {
		t.Fatal(err)
	}
	restored := then.clone()
	for _, key := range carried.Remove {
		if restored.data[key] == nil {
			t.Errorf("%s is removed and was not in the snapshot", key)
		}
		delete(restored.data, key)
	}
	maps.Copy(restored.data, carried.Put)
	records, err := restored.data.Records()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, r := range records {
		s, err := job.ReadStatus(r.Set, r.Pods)
		if err != nil {
			t.Fatal(err)
		}
		got[s.Name] = string(s.State)
	}
	want := map[string]string{"same": "RUNNING", "old": "SUCCEEDED", "done": "SUCCEEDED", "stopped": "STOPPED", "retried": "RUNNING", "brief": "FAILED"}
	if !maps.Equal(got, want) {
		t.Errorf("got jobs %v, want %v", got, want)
	}
	for name := range want {
		if restored.data["/registry/configmaps/"+storedIn+"/"+objectOf(name)+"-texts"] == nil {
			t.Errorf("job %s has no texts", name)
		}
	}
	if restored.data[then.podKey("stopped", "a")] != nil {
		t.Error("a pod of the stopped job exists again")
	}
}

// A record that the older version cannot read is not written.
func TestRecordsInAnotherFormAreNotCarried(t *testing.T) {
	t.Parallel()
	then, now := worlds(t)
	now.version = "v1beta2"
	now.job("done", "1", ended("Completed"))
	now.job("stopped", "1", func(o map[string]any) { o["apiVersion"] = "jobset.x-k8s.io/v1"; stopped(o) })
	loss := lossOf(then, now)
	loss.Created["/registry/namespaces/pai-vc-other"] = true
	changed, err := changedJobs(loss)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range changed {
		if (f.RunsAgain != "") != (f.Job == "ann~stopped") {
			t.Errorf("got %+v", f.RestoredJob)
		}
	}
	carried, err := loss.Carried(carryOf(changed))
	if err != nil {
		t.Fatal(err)
	}
	for key, value := range carried.Put {
		if bytes.Contains(value, []byte("v1beta2")) || bytes.Contains(value, []byte("jobset.x-k8s.io/v1\"")) {
			t.Errorf("%s is written as %s", key, value)
		}
	}
	if err := loss.CanKeep("pai-vc-other/x"); err == nil {
		t.Error("a job of a virtual cluster that the snapshot lacks can be kept")
	}
}

func TestUnreadableRecordsAreAnError(t *testing.T) {
	t.Parallel()
	for name, value := range map[string]string{"encrypted": "k8s:enc:secretbox:v1:key1:x", "damaged": "{", "unknown": "x"} {
		then, now := worlds(t)
		now.data["/registry/pods/"+storedIn+"/x"] = []byte(value)
		if _, err := changedJobs(lossOf(then, now)); err == nil || !strings.Contains(err.Error(), "/registry/pods/"+storedIn+"/x") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
