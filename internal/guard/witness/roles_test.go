package witness

import (
	"slices"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"pai.dev/pai/internal/observe/running"
	"pai.dev/pai/internal/pai"
)

// timeLimit is a role whose job reached a time limit of an hour.
func timeLimit(ms int) failedRole {
	return failedRole{name: "train-worker-0", reason: batchv1.JobReasonDeadlineExceeded, limit: time.Hour, reached: at(ms)}
}

// A job that reaches its own time limit ends by itself, with all its tasks. A pod that was
// deleted before did not end because of it.
func TestTimeLimit(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		happens func(l *ledger)
		role    failedRole
		want    Verdict
	}{
		"deleted at the limit": {func(l *ledger) {
			l.recordPod(podOf("b", deletedAt(12_000), exited(143, 14_000)), at(14_500))
		}, timeLimit(12_000), Failed},
		"no longer in the API": {func(l *ledger) {
			l.recordPod(podOf("b", deletedAt(12_000)), at(12_500))
			l.recordPodDeleted("b", at(14_500))
		}, timeLimit(12_000), Failed},
		"deleted before the limit, ended after": {func(l *ledger) {
			l.recordPod(podOf("b", deletedAt(10_000), exited(143, 14_000)), at(14_500))
		}, timeLimit(12_000), Unknown},
		"deletion not observed": {func(l *ledger) {
			l.recordPodDeleted("b", at(14_500))
		}, timeLimit(12_000), Unknown},
		"another reason": {func(l *ledger) {
			l.recordPod(podOf("b", deletedAt(12_000), exited(143, 14_000)), at(14_500))
		}, failedRole{name: "train-worker-0"}, Unknown},
		"evicted after the limit": {func(l *ledger) {
			l.recordPod(podOf("b", deletedAt(12_000), exited(143, 14_000), disrupted("EvictionByEvictionAPI")), at(14_500))
		}, timeLimit(12_000), Interrupted},
		"in a step": {func(l *ledger) {
			l.recordPod(podOf("b", deletedAt(21_000), exited(143, 22_000)), at(22_500))
		}, timeLimit(21_000), Unknown},
	} {
		l := proven()
		test.happens(l)
		l.recordRoles(testKey, []failedRole{test.role})
		job(l, running.JobSet{Failed: true, Restarts: 1}, 26_000)
		boots(l, "one", 26_000, 26_100, "a-c0")
		l.settleOverdue(at(90_000))
		r := l.report()
		if got := verdictsOf(r); !slices.Equal(got, []Verdict{test.want}) {
			t.Errorf("%s: got %v, want %s: %+v", name, got, test.want, r)
		}
		if test.want == Failed && !strings.Contains(strings.Join(r.Failed[0].Evidence, "\n"), "own time limit of 1h0m0s") {
			t.Errorf("%s: got the evidence %q, want the time limit", name, r.Failed[0].Evidence)
		}
	}
}

func TestReadFailedRole(t *testing.T) {
	t.Parallel()
	indexes := "1,3-4"
	role := func(reason string, status corev1.ConditionStatus) batchv1.Job {
		r := batchv1.Job{Status: batchv1.JobStatus{FailedIndexes: &indexes, Conditions: []batchv1.JobCondition{{Type: batchv1.JobFailed, Reason: reason, Status: status}}}}
		r.Name = "train-worker-0"
		return r
	}
	got, failed := readFailedRole(role(batchv1.JobReasonMaxFailedIndexesExceeded, corev1.ConditionTrue))
	want := []task{{"train-worker-0", "1"}, {"train-worker-0", "3"}, {"train-worker-0", "4"}}
	if !failed || !slices.Equal(got.failed, want) {
		t.Errorf("got %+v, %v, want the tasks %v", got, failed, want)
	}
	if got, failed := readFailedRole(role(batchv1.JobReasonDeadlineExceeded, corev1.ConditionTrue)); !failed || len(got.failed) != 0 || !got.reached.IsZero() {
		t.Errorf("got %+v, %v, want no limit: the Job has none", got, failed)
	}
	if got, failed := readFailedRole(role(batchv1.JobReasonFailedIndexes, corev1.ConditionFalse)); failed {
		t.Errorf("got %+v, want a role that has not failed", got)
	}
	if got := tasksOf("r", "1,x"); got != nil {
		t.Errorf("got %v, want none of unreadable indexes", got)
	}
}

func TestTaskHasPod(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("r", 70)
	for name, test := range map[string]struct {
		task task
		pod  string
		want bool
	}{
		"its pod":         {task{"train-worker-0", "1"}, "train-worker-0-1-abcde", true},
		"another index":   {task{"train-worker-0", "1"}, "train-worker-0-11-abcde", false},
		"another role":    {task{"train-worker-0", "1"}, "train-server-0-1-abcde", false},
		"a long role":     {task{long, "12"}, long[:54] + "-12-abcde", true},
		"one cut too far": {task{long, "12"}, long[:53] + "-12-abcde", false},
	} {
		if got := test.task.hasPod(test.pod); got != test.want {
			t.Errorf("%s: got %v, want %v", name, got, test.want)
		}
	}
}

// retryPod returns a pod of the job that started after the baseline, as another try of task 0.
func retryPod(change ...func(p *corev1.Pod)) *corev1.Pod {
	return podOf("r", append([]func(p *corev1.Pod){ofTask0}, change...)...)
}

func ofTask0(p *corev1.Pod) {
	p.Labels[batchv1.JobNameLabel], p.Annotations[batchv1.JobCompletionIndexAnnotation] = "train", "0"
}

func unscheduled(p *corev1.Pod) {
	p.Spec.NodeName, p.Status = "", corev1.PodStatus{Phase: corev1.PodPending}
}

// A retry that fails by itself explains why the other tasks of its job are deleted. One
// that might have been ended by something else does not.
func TestRetryThatFailed(t *testing.T) {
	t.Parallel()
	fails := func(l *ledger, change ...func(p *corev1.Pod)) {
		l.recordPod(retryPod(unscheduled), at(5_000))
		l.recordPod(retryPod(), at(6_000))
		boots(l, "one", 9_000, 9_100, "a-c0", "b-c0", "r-c0")
		l.recordPod(retryPod(append([]func(p *corev1.Pod){exited(1, 11_000), failedPod("")}, change...)...), at(11_500))
	}
	ofTask := func(index string) failedRole {
		return failedRole{name: "train", reason: batchv1.JobReasonMaxFailedIndexesExceeded, failed: []task{{"train", index}}}
	}
	killed := []kill{{"main", "failed liveness probe", at(10_500)}}
	for name, test := range map[string]struct {
		happens func(l *ledger)
		roles   []failedRole
		kills   []kill
		want    []Verdict // of both tasks
	}{
		"by itself":                  {func(l *ledger) { fails(l) }, []failedRole{ofTask("0")}, nil, []Verdict{Failed, Failed}},
		"the Job is no longer there": {func(l *ledger) { fails(l) }, nil, nil, []Verdict{Failed, Failed}},
		"another task failed":        {func(l *ledger) { fails(l) }, []failedRole{ofTask("1")}, nil, []Verdict{Unknown, Unknown}},
		"killed by the kubelet":      {func(l *ledger) { fails(l) }, []failedRole{ofTask("0")}, killed, []Verdict{Unknown, Unknown}},
		"killed from outside":        {func(l *ledger) { fails(l, exited(137, 11_000)) }, []failedRole{ofTask("0")}, nil, []Verdict{Unknown, Unknown}},
		"killed, no Job":             {func(l *ledger) { fails(l, exited(137, 11_000)) }, nil, nil, []Verdict{Unknown, Unknown}},
		"evicted":                    {func(l *ledger) { fails(l, failedPod("Evicted")) }, []failedRole{ofTask("0")}, nil, []Verdict{Unknown, Unknown}},
		"disk limit":                 {func(l *ledger) { fails(l, exited(137, 11_000), diskFull) }, []failedRole{ofTask("0")}, killed, []Verdict{Failed, Failed}},
		"deleted before":             {func(l *ledger) { fails(l, deletedAt(8_000)) }, []failedRole{ofTask("0")}, nil, []Verdict{Unknown, Unknown}},
		"after the others": {func(l *ledger) {
			l.recordPod(retryPod(unscheduled), at(5_000))
			boots(l, "one", 9_000, 9_100, "a-c0", "b-c0", "r-c0")
			l.recordPod(retryPod(exited(1, 14_000), failedPod("")), at(14_500))
		}, []failedRole{ofTask("0")}, nil, []Verdict{Unknown, Unknown}},
		"first seen when it had ended": {func(l *ledger) {
			l.steps = &timeline{}
			l.steps.note(base(), Step{ID: "early", Machine: testMachine})
			l.steps.note(at(2_000), Step{ID: "api"})
			boots(l, "one", 3_000, 3_100, "a-c0", "b-c0")
			l.recordPod(retryPod(exited(1, 11_000), failedPod("")), at(11_500))
		}, []failedRole{ofTask("0")}, nil, []Verdict{Unknown, Unknown}},
		"ended before the operation": {func(l *ledger) {
			l.taken = base()
			l.recordPod(retryPod(exited(137, -60_000), failedPod("")), at(1_000))
			l.recordPod(podOf("q", exited(1, 11_000), failedPod(""), ofTask0), at(11_500))
		}, []failedRole{ofTask("0")}, nil, []Verdict{Failed, Failed}},
		"an earlier retry was killed": {func(l *ledger) {
			l.recordPod(podOf("q", exited(137, 4_000), failedPod(""), ofTask0), at(4_500))
			fails(l)
		}, []failedRole{ofTask("0")}, nil, []Verdict{Unknown, Unknown}},
		"of another job": {func(l *ledger) {
			fails(l, func(p *corev1.Pod) { p.Labels[pai.LabelJob] = "other" })
		}, []failedRole{ofTask("0")}, nil, []Verdict{Unknown, Unknown}},
		"deleted with the job": {func(l *ledger) {
			l.recordPod(podOf("q", deletedAt(12_000), exited(143, 12_000), failedPod(""), ofTask0), at(12_400))
			fails(l)
		}, []failedRole{ofTask("0")}, nil, []Verdict{Failed, Failed}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := proven()
			test.happens(l)
			for _, uid := range []string{"a", "b"} {
				l.recordPod(podOf(uid, deletedAt(12_000), exited(143, 13_000)), at(13_500))
			}
			l.recordKills("r", test.kills, at(17_000))
			l.recordKills("q", nil, at(17_000))
			l.recordRoles(testKey, test.roles)
			job(l, running.JobSet{Failed: true, Restarts: 1}, 15_000)
			boots(l, "one", 15_000, 15_100)
			l.settleOverdue(at(90_000))
			if got := verdictsOf(l.report()); !slices.Equal(got, test.want) {
				t.Errorf("got %v, want %v: %+v", got, test.want, l.report())
			}
		})
	}
}

// The verdict waits for what is still to be read about a retry, and the machine of a retry
// is observed although no watched container runs there.
func TestRetryIsReadBeforeTheVerdict(t *testing.T) {
	t.Parallel()
	l := proven()
	l.recordPod(retryPod(unscheduled), at(5_000))
	elsewhere := func(p *corev1.Pod) { p.Spec.NodeName = "gpu-02" }
	l.recordPod(retryPod(elsewhere), at(6_000))
	if got := l.runningMachines(); !slices.Equal(got, []string{testMachine, "gpu-02"}) {
		t.Errorf("got the machines %v, want that of the retry, too", got)
	}
	reports := func(ms int, list ...running.Container) {
		l.recordMachine("gpu-02", running.MachineReport{Boot: "one", Containers: list}, at(ms), at(ms+100))
	}
	reports(9_000, running.Container{ID: "r-c0", PodUID: "r", Name: "main"})
	l.recordPod(retryPod(elsewhere, exited(1, 11_000), failedPod("")), at(11_500))
	if got := l.podsToExplain(); len(got) != 0 {
		t.Errorf("got %v to explain before a task of the job was deleted", got)
	}
	l.recordPod(podOf("b", deletedAt(12_000), exited(143, 13_000)), at(13_500))
	if got := l.podsToExplain()["pai-vc-default"]; !slices.Equal(got, []string{"r"}) {
		t.Errorf("got %v to explain, want the retry", got)
	}
	l.recordRoles(testKey, []failedRole{{name: "train", failed: []task{{"train", "0"}}}})
	job(l, running.JobSet{Failed: true, Restarts: 1}, 15_000)
	boots(l, "one", 15_000, 15_100, "a-c0")
	if !l.hasPendingEnds() {
		t.Fatalf("got a verdict before the end of the retry was explained: %+v", l.report())
	}
	l.recordKills("r", nil, at(15_000))
	if !l.hasPendingEnds() {
		t.Fatalf("got a verdict before the machine of the retry was observed: %+v", l.report())
	}
	reports(16_000)
	if got := verdictsOf(l.report()); !slices.Equal(got, []Verdict{Failed}) {
		t.Errorf("got %v, want the task failed with its job: %+v", got, l.report())
	}
}
