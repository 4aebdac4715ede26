package witness

import (
	"slices"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"

	"pai.dev/pai/internal/observe/running"
)

// What settle reads from the API decides about an end: the kubelet's events, the
// object of the job, and the Jobs of its roles.
func TestSettleReadsTheAPI(t *testing.T) {
	t.Parallel()
	event := func(name, uid string) *corev1.Event {
		return &corev1.Event{ObjectMeta: metav1.ObjectMeta{Namespace: "pai-vc-default", Name: name}, Reason: "Killing", Message: "will be restarted",
			FirstTimestamp: metav1.NewTime(at(11_000)), InvolvedObject: corev1.ObjectReference{Kind: "Pod", UID: podOf(uid).UID, FieldPath: "spec.containers{main}"}}
	}
	role := func(condition batchv1.JobConditionType, change ...func(r *batchv1.Job)) *batchv1.Job {
		r := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: "pai-vc-default", Name: "role", Labels: map[string]string{labelJobSet: "train"}},
			Status: batchv1.JobStatus{Conditions: []batchv1.JobCondition{{Type: condition, Status: corev1.ConditionTrue}}}}
		for _, f := range change {
			f(r)
		}
		return r
	}
	reaches := func(reached int) func(r *batchv1.Job) {
		return func(r *batchv1.Job) {
			start := metav1.NewTime(at(reached).Add(-time.Hour))
			r.Spec.ActiveDeadlineSeconds, r.Status.StartTime = new(int64(3600)), &start
			r.Status.Conditions[0].Reason = "DeadlineExceeded"
		}
	}
	otherReason := func(r *batchv1.Job) { r.Status.Conditions[0].Reason = "BackoffLimitExceeded" }
	deletesB := func(l *ledger) {
		l.recordPod(podOf("a", exited(0, 12_000)), at(12_500))
		l.recordPod(podOf("b", deletedAt(13_000), exited(143, 14_000)), at(14_500))
	}
	fails := func(l *ledger) { l.recordPod(podOf("a", exited(1, 12_000)), at(12_500)) }
	endsBoth := func(l *ledger) {
		fails(l)
		l.recordPod(podOf("b", deletedAt(13_000), exited(143, 14_000)), at(14_500))
	}
	for name, test := range map[string]struct {
		happens func(l *ledger)
		objects []runtime.Object
		want    []Verdict
	}{
		"no event":               {fails, nil, []Verdict{Failed}},
		"event of the pod":       {fails, []runtime.Object{event("e", "a")}, []Verdict{Interrupted}},
		"event of another pod":   {fails, []runtime.Object{event("e", "b")}, []Verdict{Failed}},
		"the role fails":         {endsBoth, []runtime.Object{role(batchv1.JobFailureTarget)}, []Verdict{Failed, Failed}},
		"the role has failed":    {endsBoth, []runtime.Object{role(batchv1.JobFailed)}, []Verdict{Failed, Failed}},
		"time limit":             {deletesB, []runtime.Object{role(batchv1.JobFailureTarget, reaches(12_900))}, []Verdict{Failed}},
		"time limit, at the end": {deletesB, []runtime.Object{role(batchv1.JobFailed, reaches(12_900))}, []Verdict{Failed}},
		"deleted before it":      {deletesB, []runtime.Object{role(batchv1.JobFailed, reaches(14_000))}, []Verdict{Unknown}},
		"another reason":         {deletesB, []runtime.Object{role(batchv1.JobFailed, reaches(12_900), otherReason)}, []Verdict{Unknown}},
		"the role has succeeded": {endsBoth, []runtime.Object{role(batchv1.JobComplete)}, []Verdict{Failed, Interrupted}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			set := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": "JobSet",
				"metadata": map[string]any{"namespace": "pai-vc-default", "name": "train"}, "status": map[string]any{"restarts": int64(1)}}}
			l := proven()
			w := &Witness{ledger: l, core: fake.NewClientset(test.objects...),
				objects: dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), map[schema.GroupVersionResource]string{running.JobSets(): "JobSetList"}, set)}
			test.happens(l)
			boots(l, "one", 15_000, 15_100)
			w.settle(t.Context())
			if got := verdictsOf(l.report()); !slices.Equal(got, test.want) {
				t.Errorf("got %v, want %v: %+v", got, test.want, l.report())
			}
		})
	}
}

// The steps that start and end between two samples are on the timeline.
func TestStepsChangedRecordsShortSteps(t *testing.T) {
	t.Parallel()
	var now []Step
	w := &Witness{steps: &timeline{}, o: StartOptions{Steps: func() []Step { return now }}}
	from := time.Now()
	w.StepsChanged()
	now = []Step{{ID: "short", Machine: testMachine}}
	w.StepsChanged()
	now = nil
	w.StepsChanged()
	if got := w.steps.reaching(from, time.Now(), []string{testMachine}); got != "short" {
		t.Errorf("got %q, want the short step", got)
	}
}
