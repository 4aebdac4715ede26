//go:build e2e

package rest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
)

func (w *world) configMaps(t *testing.T, namespace string) (texts []corev1.ConfigMap) {
	t.Helper()
	list, err := w.cluster.Client.Clientset().CoreV1().ConfigMaps(namespace).List(t.Context(), metav1.ListOptions{LabelSelector: pai.LabelJob})
	if err != nil {
		t.Fatal(err)
	}
	return list.Items
}

// The texts of a job are stored once, outlive nothing, and belong to its JobSet.
func TestTextsOfJobsOnARealAPI(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "default")
	ctx := t.Context()
	admin := client(t, w.access)
	id := JobID{"admin", "train"}
	text := protocol("train", "default")
	if _, err := admin.Submit(ctx, Submission{Protocol: text}); err != nil {
		t.Fatal(err)
	}
	set, err := w.core.find(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	owned := func(cm corev1.ConfigMap) bool {
		return len(cm.OwnerReferences) == 1 && cm.OwnerReferences[0].UID == set.GetUID() && cm.Labels[job.LabelPending] == ""
	}
	texts := w.configMaps(t, "pai-vc-default")
	if len(texts) != 1 || !owned(texts[0]) || texts[0].Immutable == nil || !*texts[0].Immutable {
		t.Fatalf("texts: %+v", texts)
	}
	if got, err := admin.Protocol(ctx, id); err != nil || string(got) != string(text) {
		t.Errorf("%q, %v", got, err)
	}

	t.Run("a job that is refused leaves none", func(t *testing.T) {
		forbid(t, w, "refuse-other", "object.metadata.labels['pai.dev/job'].startsWith('admin-other')", "CREATE")
		eventually(t, "it is refused", func() string {
			if _, err := admin.Submit(ctx, Submission{Protocol: protocol("other", "default")}); err == nil {
				_ = w.cluster.Client.Delete(ctx, kube.RefOf(mustFind(t, w, JobID{"admin", "other"})), mustFind(t, w, JobID{"admin", "other"}).GetUID())
				return "accepted"
			}
			return ""
		})
		for _, cm := range w.configMaps(t, "pai-vc-default") {
			if cm.Labels[job.LabelPending] != "" {
				t.Errorf("left %s", cm.Name)
			}
		}
	})
	t.Run("a server that was killed", func(t *testing.T) {
		pending := fmt.Sprintf(`{"metadata":{"ownerReferences":null,"labels":{%q:"true"}}}`, job.LabelPending)
		ref := kube.Ref{Version: "v1", Kind: "ConfigMap", Namespace: "pai-vc-default", Name: texts[0].Name}
		if err := w.cluster.Client.Patch(ctx, ref, []byte(pending)); err != nil {
			t.Fatal(err)
		}
		j, _, err := job.Parse(protocol("lost", "default"), job.ParseOptions{})
		if err != nil {
			t.Fatal(err)
		}
		lost, err := j.Objects("admin", nil, "admin-lost-texts")
		if err != nil {
			t.Fatal(err)
		}
		if err := w.cluster.Client.Create(ctx, lost.Texts); err != nil {
			t.Fatal(err)
		}
		count := func() (n int) {
			for _, cm := range w.configMaps(t, "pai-vc-default") {
				if cm.Name == texts[0].Name && !owned(cm) {
					t.Errorf("the texts of a job: %+v", cm.ObjectMeta)
				}
				if cm.Name == texts[0].Name || cm.Name == "admin-lost-texts" {
					n++
				}
			}
			return n
		}
		if err := w.core.reconcileTexts(ctx); err != nil || count() != 2 {
			t.Errorf("at once: %v", err)
		}
		w.core.now = func() time.Time { return time.Now().Add(2 * pendingTimeout) }
		if err := w.core.reconcileTexts(ctx); err != nil || count() != 1 {
			t.Errorf("later: %v", err)
		}
		w.core.now = time.Now
	})
	t.Run("a job of v0.10 has its text itself", func(t *testing.T) {
		w.patch(t, set, fmt.Sprintf(`{"metadata":{"annotations":{%q:"as it was\n",%q:null}}}`, job.AnnotationProtocol, job.AnnotationTexts))
		if got, err := admin.Protocol(ctx, id); err != nil || string(got) != "as it was\n" {
			t.Errorf("%q, %v", got, err)
		}
	})
}

func mustFind(t *testing.T, w *world, id JobID) *unstructured.Unstructured {
	t.Helper()
	obj, err := w.core.find(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return obj
}

// forbid refuses operations on the JobSets that an expression of CEL matches.
func forbid(t *testing.T, w *world, name, expression, operation string) {
	t.Helper()
	text := fmt.Sprintf(`apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: %[1]s}
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules:
      - {apiGroups: [jobset.x-k8s.io], apiVersions: ["*"], resources: [jobsets], operations: [%[3]s]}
  validations:
    - {expression: "!(%[2]s)", message: the test forbids it}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: %[1]s}
spec: {policyName: %[1]s, validationActions: [Deny]}
`, name, expression, operation)
	objs, err := kube.Decode([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	apply(t, w, objs)
}

// A stop that cannot be finished does not delay that of another job.
func TestStopsContinueAfterOneThatFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "default")
	ctx := t.Context()
	admin := client(t, w.access)
	var ids []JobID
	for _, name := range []string{"a-stuck", "b", "c"} { // in the order of the list
		if _, err := admin.Submit(ctx, Submission{Protocol: protocol(name, "default")}); err != nil {
			t.Fatal(err)
		}
		id := JobID{"admin", name}
		ids = append(ids, id)
		if err := admin.Stop(ctx, id); err != nil {
			t.Fatal(err)
		}
	}
	forbid(t, w, "stuck", "object.metadata.annotations['pai.dev/job-name'] == 'a-stuck'", "UPDATE")
	eventually(t, "the policy works", func() string {
		err := w.cluster.Client.Patch(ctx, kube.RefOf(mustFind(t, w, ids[0])), []byte(`{"metadata":{"labels":{"x":"y"}}}`))
		if err == nil {
			return "the change is allowed"
		}
		return ""
	})
	if err := w.core.reconcileStops(ctx); err == nil || !strings.Contains(err.Error(), "the test forbids it") {
		t.Errorf("got %v, want the failure of one job", err)
	}
	for i, id := range ids {
		if got := mustFind(t, w, id).GetLabels()[labelStop]; (got == stopDone) != (i > 0) {
			t.Errorf("%s: %s", id, got)
		}
	}
}

// Ended jobs leave the cluster by number and age, but not while a pod might run, and
// their names can be used again.
func TestEndedJobsLeaveTheCluster(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "default")
	ctx := t.Context()
	admin := client(t, w.access)
	names := []string{"first", "second", "third", "runs"}
	for i, name := range names {
		if _, err := admin.Submit(ctx, Submission{Protocol: protocol(name, "default")}); err != nil {
			t.Fatal(err)
		}
		if name == "runs" {
			continue
		}
		set := mustFind(t, w, JobID{"admin", name})
		at := time.Now().Add(time.Duration(i-10) * time.Hour).UTC().Format(time.RFC3339)
		condition := []any{map[string]any{"type": "Completed", "status": "True", "reason": "Test", "message": "", "lastTransitionTime": at}}
		if err := unstructured.SetNestedSlice(set.Object, condition, "status", "conditions"); err != nil {
			t.Fatal(err)
		}
		if _, err := w.cluster.Client.Dynamic().Resource(job.JobSets).Namespace("pai-vc-default").UpdateStatus(ctx, set, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "last", Labels: map[string]string{pai.LabelJob: mustFind(t, w, JobID{"admin", "first"}).GetName()}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "task", Image: "a/b"}}},
	}
	pods := w.cluster.Client.Clientset().CoreV1().Pods("pai-vc-default")
	if _, err := w.cluster.Client.Clientset().CoreV1().ServiceAccounts("pai-vc-default").Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := pods.Create(ctx, pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	want := func(r Retention, want string) {
		t.Helper()
		if err := w.core.reconcileEnded(ctx, r); err != nil {
			t.Fatal(err)
		}
		jobs, err := admin.List(ctx, Filter{})
		if err != nil {
			t.Fatal(err)
		}
		var left []string
		for _, s := range jobs {
			left = append(left, s.Name)
		}
		slices.Sort(left) // of the same second
		if got := strings.Join(left, " "); got != want {
			t.Errorf("%+v: got %s, want %s", r, got, want)
		}
	}
	want(Retention{Jobs: 3, Age: 24 * time.Hour}, "first runs second third")
	want(Retention{Jobs: 1, Age: 24 * time.Hour}, "first runs third") // a pod of the first one might run
	if err := pods.Delete(ctx, "last", metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))}); err != nil {
		t.Fatal(err)
	}
	want(Retention{Jobs: 1, Age: 24 * time.Hour}, "runs third")
	want(Retention{Jobs: 1, Age: time.Hour}, "runs")
	if _, err := admin.Submit(ctx, Submission{Protocol: protocol("first", "default")}); err != nil {
		t.Errorf("the name of a deleted job: %v", err)
	}
}

// An object that etcd or the API server does not store is a mistake of the request,
// not an outage.
func TestObjectThatEtcdRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "default")
	for name, size := range map[string]int{"etcd": 2 << 20, "API server": 4 << 20} {
		j, _, err := job.Parse(protocol("large", "default"), job.ParseOptions{})
		if err != nil {
			t.Fatal(err)
		}
		o, err := j.Objects("admin", nil, "texts")
		if err != nil {
			t.Fatal(err)
		}
		roles, _, err := unstructured.NestedSlice(o.JobSet.Object, "spec", "replicatedJobs")
		if err != nil {
			t.Fatal(err)
		}
		containers, _, err := unstructured.NestedSlice(roles[0].(map[string]any), "template", "spec", "template", "spec", "containers")
		if err != nil {
			t.Fatal(err)
		}
		containers[0].(map[string]any)["args"] = []any{strings.Repeat("x", size)}
		if err := unstructured.SetNestedSlice(roles[0].(map[string]any), containers, "template", "spec", "template", "spec", "containers"); err != nil {
			t.Fatal(err)
		}
		if err := unstructured.SetNestedSlice(o.JobSet.Object, roles, "spec", "replicatedJobs"); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), callTimeout)
		defer cancel()
		_, err = w.core.createSet(ctx, JobID{"admin", "large"}, o.JobSet)
		if pai.CodeOf(err) != pai.CodeInvalid || errors.Is(err, errUnavailable) || !strings.Contains(fmt.Sprint(err), "does not store objects of that size") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
