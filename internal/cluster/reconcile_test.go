package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/pai"
)

const vc = "pai-vc-default"

func backedUp(name string, pods ...BackupPod) BackupJob {
	return BackupJob{JobRef: pai.JobRef{User: "ann", Name: name}, Namespace: vc, Object: name, State: "RUNNING", Roles: []string{"worker"}, Pods: pods}
}

func podOn(machine, uid string) BackupPod {
	return BackupPod{Name: "pod-" + uid, UID: uid, Machine: machine}
}

func runs(pod, uid string) inspect.Container {
	return inspect.Container{ID: "c-" + uid, Namespace: vc, Pod: pod, PodUID: uid, Name: "task"}
}

func knows(uids ...string) map[string]bool {
	pods := map[string]bool{}
	for _, uid := range uids {
		pods[uid] = true
	}
	return pods
}

// outcome is a comparison in short.
func outcome(c Comparison) string {
	var parts []string
	for _, j := range c.Running {
		parts = append(parts, "runs "+j.Object)
	}
	for _, j := range c.Held {
		parts = append(parts, "held "+j.Object)
	}
	for _, j := range c.Waiting {
		parts = append(parts, "waits "+j.Object)
	}
	for _, m := range sortedKeys(c.Younger) {
		for _, one := range c.Younger[m] {
			parts = append(parts, "younger "+one.Pod+" on "+m)
		}
	}
	for _, m := range sortedKeys(c.Unknown) {
		parts = append(parts, "unknown "+m)
	}
	return strings.Join(parts, ", ")
}

func TestCompareJobsWithMachines(t *testing.T) {
	t.Parallel()
	silent := Presence{Err: errors.New("no answer")}
	for _, c := range []struct {
		name     string
		jobs     []BackupJob
		machines map[string]Presence
		want     string
	}{
		{"it runs", []BackupJob{backedUp("a", podOn("m1", "1"))}, map[string]Presence{"m1": {Running: []inspect.Container{runs("a-worker-0-0-x", "1")}}}, "runs a"},
		{"it ended, and its kubelet knows", []BackupJob{backedUp("a", podOn("m1", "1"))}, map[string]Presence{"m1": {Pods: knows("1")}}, "runs a"},
		{"it ended, and nothing is left", []BackupJob{backedUp("a", podOn("m1", "1"))}, map[string]Presence{"m1": {}}, "held a"},
		{"a part is left, which runs on", []BackupJob{backedUp("a", podOn("m1", "1"), podOn("m2", "2"))},
			map[string]Presence{"m1": {Running: []inspect.Container{runs("a-worker-0-0-x", "1")}}, "m2": {}}, "held a, younger a-worker-0-0-x on m1"},
		{"a part is on a silent machine", []BackupJob{backedUp("a", podOn("m1", "1"), podOn("m2", "2"))},
			map[string]Presence{"m1": {Pods: knows("1")}, "m2": silent}, "runs a, unknown m2"},
		{"a part is on a silent machine, and another no longer exists", []BackupJob{backedUp("a", podOn("m1", "1"), podOn("m2", "2"))},
			map[string]Presence{"m1": {}, "m2": silent}, "held a, unknown m2"},
		{"the backup does not have it", nil, map[string]Presence{"m1": {Running: []inspect.Container{runs("b-worker-0-0-x", "9")}}}, "younger b-worker-0-0-x on m1"},
		{"it was started again", []BackupJob{backedUp("a", podOn("m1", "1"))},
			map[string]Presence{"m1": {Pods: knows("1")}, "m2": {Running: []inspect.Container{runs("a-worker-0-0-y", "2")}}}, "held a, younger a-worker-0-0-y on m2"},
		{"it waited, and runs now", []BackupJob{backedUp("a")}, map[string]Presence{"m1": {Running: []inspect.Container{runs("a-worker-0-0-y", "2")}}}, "held a, younger a-worker-0-0-y on m1"},
		{"it waited, was placed, and runs now", []BackupJob{backedUp("a", podOn("", "1"))}, map[string]Presence{"m1": {Running: []inspect.Container{runs("a-worker-0-0-x", "1")}}},
			"waits a, younger a-worker-0-0-x on m1"},
		{"it waits", []BackupJob{backedUp("a"), backedUp("b", podOn("", "1"))}, map[string]Presence{"m1": {}}, "waits a, waits b"},
		{"another job with a longer name", []BackupJob{backedUp("a", podOn("m1", "1"))},
			map[string]Presence{"m1": {Running: []inspect.Container{runs("a-worker-0-0-x", "1"), runs("a-worker-2-worker-0-0-x", "2")}}}, "runs a, younger a-worker-2-worker-0-0-x on m1"},
		{"it runs elsewhere", []BackupJob{backedUp("a", podOn("m1", "1"))},
			map[string]Presence{"m1": {Pods: knows("1")}, "m2": {Running: []inspect.Container{runs("a-worker-0-0-x", "1")}}}, "runs a, younger a-worker-0-0-x on m2"},
		{"a container of nothing known", nil, map[string]Presence{"m1": {Running: []inspect.Container{{ID: "c"}}}}, "younger  on m1"},
		{"a container of a service", nil, map[string]Presence{"m1": {Running: []inspect.Container{{ID: "c", Namespace: "pai-system", PodUID: "1"}}}}, ""},
	} {
		if got := outcome(Compare(c.jobs, c.machines)); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

// Over random backups and machines: what would be ended keeps its machine out, what
// would be started again is held, and no job is lost from the lists.
func TestCompareProperty(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		names := []string{"m1", "m2", "m3"}
		machines := map[string]Presence{}
		for _, m := range names {
			p := Presence{Pods: map[string]bool{}}
			if rapid.IntRange(0, 5).Draw(t, "silent") == 0 {
				p.Err = errors.New("silent")
			}
			machines[m] = p
		}
		add := func(m string, c inspect.Container, running bool) {
			p := machines[m]
			if p.Err != nil {
				return
			}
			p.Pods[c.PodUID] = true
			if running {
				p.Running = append(p.Running, c)
			}
			machines[m] = p
		}
		var jobs []BackupJob
		uid := 0
		for i := range rapid.IntRange(0, 5).Draw(t, "jobs") {
			j := backedUp(fmt.Sprintf("job%d", i))
			for n := range rapid.IntRange(0, 3).Draw(t, "pods") {
				uid++
				p := podOn(rapid.SampledFrom(append([]string{""}, names...)).Draw(t, "machine"), fmt.Sprint(uid))
				j.Pods = append(j.Pods, p)
				pod := fmt.Sprintf("%s-worker-0-%d-abc", j.Object, n)
				switch now := rapid.SampledFrom([]string{"runs", "ended", "gone", "again"}).Draw(t, "now"); now {
				case "runs", "ended":
					if p.Machine != "" {
						add(p.Machine, runs(pod, p.UID), now == "runs")
					}
				case "again":
					uid++
					add(rapid.SampledFrom(names).Draw(t, "where"), runs(pod, fmt.Sprint(uid)), true)
				}
			}
			jobs = append(jobs, j)
		}
		c := Compare(jobs, machines)
		restored := map[string]string{} // what an API server of the restored data would have
		for _, j := range slices.Concat(c.Running, c.Waiting) {
			for _, p := range j.Pods {
				restored[p.UID] = p.Machine
			}
		}
		for _, m := range names {
			for _, one := range machines[m].Running {
				if ends := restored[one.PodUID] != m; ends != slices.Contains(c.Younger[m], one) {
					t.Errorf("%s on %s: its kubelet would end it: %t, but it keeps the machine out: %t", one.Pod, m, ends, !ends)
				}
			}
		}
		for _, j := range slices.Concat(c.Running, c.Waiting) {
			for _, p := range j.Pods {
				if at := machines[p.Machine]; p.Machine != "" && at.Err == nil && !at.knows(p.UID) {
					t.Errorf("%s of %s would be started again on %s", p.Name, j.Object, p.Machine)
				}
			}
		}
		if got := len(c.Running) + len(c.Waiting) + len(c.Held); got != len(jobs) {
			t.Errorf("got %d jobs, want %d", got, len(jobs))
		}
	})
}

func TestHeldJobCannotRun(t *testing.T) {
	t.Parallel()
	set := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": "JobSet",
		"metadata": map[string]any{"name": "a", "namespace": vc, "uid": "u", "labels": map[string]any{pai.LabelJob: "a", pai.LabelUser: "ann", pai.LabelQueue: "jobs"},
			"annotations": map[string]any{pai.AnnotationJobName: "a"}},
		"spec":   map[string]any{"suspend": false, "replicatedJobs": []any{map[string]any{"name": "worker"}}},
		"status": map[string]any{"conditions": []any{map[string]any{"type": "Suspended", "status": "False"}, map[string]any{"type": "StartupPolicyCompleted", "status": "True"}}},
	}}
	value, err := json.Marshal(set.Object)
	if err != nil {
		t.Fatal(err)
	}
	key := jobSetKey(vc + "/a")
	data := JobData{key: value}
	r := &JobRecord{Set: set, keys: []string{key, "/registry/kueue.x-k8s.io/workloads/" + vc + "/w", "/registry/jobs/" + vc + "/a-worker-0",
		"/registry/pods/" + vc + "/a-worker-0-0-x", "/registry/configmaps/" + vc + "/a"}}
	c, err := hold(r, data, vc, "a", "the restore of backup b", time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC))
	if err != nil {
		t.Fatal(err)
	}
	if want := r.keys[1:4]; !slices.Equal(c.Remove, want) {
		t.Errorf("got %v removed, want %v", c.Remove, want)
	}
	var held unstructured.Unstructured
	if err := held.UnmarshalJSON(c.Put[key]); err != nil {
		t.Fatal(err)
	}
	if suspended, _, _ := unstructured.NestedBool(held.Object, "spec", "suspend"); !suspended {
		t.Error("the JobSet is not suspended")
	}
	if held.GetLabels()[pai.LabelQueue] != "" || held.GetLabels()[pai.LabelStop] != pai.StopDone || held.GetLabels()[pai.LabelJob] != "a" {
		t.Errorf("got labels %v, want those of a stopped job", held.GetLabels())
	}
	if got := held.GetAnnotations()[pai.AnnotationStopped]; got != "2026-11-20T10:00:00Z by the restore of backup b" {
		t.Errorf("got annotation %q", got)
	}
	conditions, _, _ := unstructured.NestedSlice(held.Object, "status", "conditions")
	if len(conditions) != 2 {
		t.Errorf("got conditions %v, want one that it is suspended, and the other", conditions)
	}
}

func TestAdmissible(t *testing.T) {
	t.Parallel()
	pod := func(name, uid, node string, phase corev1.PodPhase, deleted bool) corev1.Pod {
		p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(uid)}, Spec: corev1.PodSpec{NodeName: node}, Status: corev1.PodStatus{Phase: phase}}
		if deleted {
			p.DeletionTimestamp = &metav1.Time{Time: time.Now()}
		}
		return p
	}
	p := Presence{Running: []inspect.Container{runs("a", "1"), runs("b", "2"), {ID: "unknown"}, {ID: "service", Namespace: "pai-system", PodUID: "8"}}, Pods: knows("3")}
	younger, missing := Admissible(p, "m1", []corev1.Pod{
		pod("a", "1", "m1", corev1.PodRunning, false), pod("b", "2", "m2", corev1.PodRunning, false), pod("ended", "3", "m1", corev1.PodRunning, false),
		pod("gone", "4", "m1", corev1.PodRunning, false), pod("succeeded", "5", "m1", corev1.PodSucceeded, false), pod("deleted", "6", "m1", corev1.PodRunning, true),
	})
	if len(younger) != 2 || younger[0].Pod != "b" || younger[1].ID != "unknown" {
		t.Errorf("got younger %+v, want the one of another machine and the unknown one", younger)
	}
	if len(missing) != 1 || missing[0].Name != "gone" {
		t.Errorf("got missing %+v, want one", missing)
	}
}
