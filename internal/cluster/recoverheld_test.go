package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// storedJob are the keys of a job whose pod ran on pai-1.
func storedJob(t *testing.T, name string) map[string]string {
	t.Helper()
	meta := func(name string) map[string]any {
		return map[string]any{"name": name, "namespace": vc, "uid": "uid-" + name, "labels": map[string]any{pai.LabelJob: name[:1], pai.LabelQueue: "jobs"},
			"ownerReferences": []any{map[string]any{"apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": "JobSet", "name": name[:1], "uid": "uid-" + name[:1]}}}
	}
	keys := map[string]string{}
	for key, object := range map[string]map[string]any{
		jobSetKey(vc + "/" + name):                                     {"apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": "JobSet", "metadata": meta(name), "spec": map[string]any{"suspend": false}},
		"/registry/kueue.x-k8s.io/workloads/" + vc + "/" + name + "-w": {"apiVersion": "kueue.x-k8s.io/v1beta1", "kind": "Workload", "metadata": meta(name + "-w")},
		"/registry/jobs/" + vc + "/" + name + "-worker-0":              {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta(name + "-worker-0")},
		"/registry/pods/" + vc + "/" + name + "-worker-0-0-x": {"apiVersion": "v1", "kind": "Pod", "metadata": meta(name + "-worker-0-0-x"),
			"spec": map[string]any{"nodeName": "pai-1"}},
	} {
		value, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		keys[key] = string(value)
	}
	return keys
}

// startedJobs are the jobs of etcd that a restore compares: those that were not stopped.
func startedJobs(d JobData) ([]BackupJob, error) {
	records, err := d.Records()
	if err != nil {
		return nil, err
	}
	var jobs []BackupJob
	for _, id := range slices.Sorted(maps.Keys(records)) {
		r := records[id]
		if r.Set == nil || r.Set.GetAnnotations()[pai.AnnotationStopped] != "" {
			continue
		}
		j := BackupJob{JobRef: pai.JobRef{User: "ann", Name: r.Set.GetName()}, Namespace: r.Set.GetNamespace(), Object: r.Set.GetName(), Roles: []string{"worker"}}
		for _, p := range r.Pods {
			j.Pods = append(j.Pods, BackupPod{Name: p.Name, UID: string(p.UID), Machine: p.Spec.NodeName})
		}
		jobs = append(jobs, j)
	}
	return jobs, nil
}

// A job that must not run again is held, wherever the restore that holds it died.
func TestHeldJobsStayHeldWhereverARestoreDied(t *testing.T) {
	t.Parallel()
	step := plan.Step{Kind: plan.KindReconcile, Target: "pai-1"}
	newMachine := func(t *testing.T) (*etcdMachine, func() error) {
		e := newEtcdMachine(t, voter(1, "pai-1-a", "https://10.9.0.11:2380"))
		e.etcd.Keys = storedJob(t, "a")
		maps.Copy(e.etcd.Keys, storedJob(t, "b"))
		return e, func() error {
			c := &cluster{Deps: Deps{Config: testConfig(), Hosts: map[string]machine.Host{"pai-1": e}, Progress: func(string, ...any) {},
				Recovery: &RecoveryTask{Backup: "b", Machine: "pai-1", Jobs: startedJobs, Reconciled: func(context.Context, Comparison) error { return nil }}}}
			return c.reconcile(t.Context(), e, config.Machine{}, step)
		}
	}
	check := func(t *testing.T, at int, e *etcdMachine) {
		t.Helper()
		if got, want := slices.Sorted(maps.Keys(e.etcd.Keys)), []string{jobSetKey(vc + "/a"), jobSetKey(vc + "/b")}; !slices.Equal(got, want) {
			t.Errorf("died at write %d: got %v in etcd, want the records of the jobs alone", at, got)
		}
		for key, value := range e.etcd.Keys {
			var set unstructured.Unstructured
			if err := set.UnmarshalJSON([]byte(value)); err != nil {
				t.Fatal(err)
			}
			if suspended, _, _ := unstructured.NestedBool(set.Object, "spec", "suspend"); !suspended || set.GetLabels()[pai.LabelQueue] != "" {
				t.Errorf("died at write %d: %s runs again", at, key)
			}
		}
		if _, err := os.Stat(e.At(heldFile)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("died at write %d: got %v, want no changes left for another restore", at, err)
		}
	}
	whole, reconcile := newMachine(t)
	if err := reconcile(); err != nil {
		t.Fatal(err)
	}
	check(t, 0, whole)
	if whole.etcd.Writes != 8 {
		t.Fatalf("got %d writes, want 8", whole.etcd.Writes)
	}
	for at := 1; at <= whole.etcd.Writes; at++ {
		e, reconcile := newMachine(t)
		e.etcd.DiesAt = at
		if err := reconcile(); err == nil || !strings.Contains(err.Error(), "keep a job from running again") {
			t.Fatalf("died at write %d: got %v", at, err)
		}
		e.etcd.DiesAt = 0
		if err := reconcile(); err != nil {
			t.Fatalf("died at write %d: continued: %v", at, err)
		}
		check(t, at, e)
	}
}
