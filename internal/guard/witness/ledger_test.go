package witness

import (
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"pai.dev/pai/internal/observe/running"
	"pai.dev/pai/internal/pai"
)

const (
	testKey     = "pai-vc-default/train"
	testMachine = "gpu-01"
)

// podOf returns a pod of a job with one container, with changes.
func podOf(uid string, change ...func(p *corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "pai-vc-default", Name: "train-" + uid, UID: types.UID(uid),
			Labels:      map[string]string{pai.LabelJob: "train", pai.LabelUser: "ada"},
			Annotations: map[string]string{pai.AnnotationJobName: "train"},
		},
		Spec: corev1.PodSpec{NodeName: testMachine},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{{
			Name: "main", ContainerID: "containerd://" + uid + "-c0",
			State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(base().Add(-time.Hour))}},
		}}},
	}
	for _, f := range change {
		f(p)
	}
	return p
}

func exited(code int32, atMS int) func(p *corev1.Pod) {
	return func(p *corev1.Pod) {
		s := &p.Status.ContainerStatuses[0]
		s.State = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
			ExitCode: code, ContainerID: s.ContainerID, FinishedAt: metav1.NewTime(at(atMS).Truncate(time.Second)),
		}}
	}
}

// restarted replaces the container that ran.
func restarted(code int32, atMS int) func(p *corev1.Pod) {
	return func(p *corev1.Pod) {
		exited(code, atMS)(p)
		s := &p.Status.ContainerStatuses[0]
		s.LastTerminationState, s.RestartCount = s.State, 1
		s.ContainerID = "containerd://" + string(p.UID) + "-c1"
		s.State = corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	}
}

func deletedAt(ms int) func(p *corev1.Pod) {
	return func(p *corev1.Pod) {
		grace := int64(30)
		p.DeletionGracePeriodSeconds = &grace
		p.DeletionTimestamp = &metav1.Time{Time: at(ms).Add(30 * time.Second)}
	}
}

func failedPod(reason string) func(p *corev1.Pod) {
	return func(p *corev1.Pod) { p.Status.Phase, p.Status.Reason = corev1.PodFailed, reason }
}

func disrupted(reason string) func(p *corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: reason})
	}
}

// watched returns a ledger with one job of two pods, a and b.
func watched() *ledger {
	b := baselineOf([]corev1.Pod{*podOf("a"), *podOf("b")}, nil, base())
	steps := &timeline{}
	steps.note(base(), Step{ID: "step-1"})
	steps.note(at(10_000), Step{ID: "step-2"})
	steps.note(at(20_000), Step{ID: "step-3"})
	return newLedger(b.Jobs, nil, steps, base())
}

// lives records a report of the test machine with these containers alive.
func lives(l *ledger, asked, now int, ids ...string) {
	var list []running.Container
	for _, id := range ids {
		list = append(list, running.Container{ID: id, PodUID: id[:1], Name: "main", Namespace: "pai-vc-default"})
	}
	l.recordMachine(testMachine, running.MachineReport{Containers: list}, at(asked), at(now))
}

// job records the object of the job.
func job(l *ledger, set running.JobSet, ms int) { l.recordJob(testKey, set, true, at(ms)) }

func alive(ids ...string) finalObservation {
	seen := finalObservation{alive: map[string]bool{}}
	for _, id := range ids {
		seen.alive[id] = true
	}
	return seen
}

func TestLedger(t *testing.T) {
	t.Parallel()
	type want struct {
		after, finished int
		verdict         Verdict // of the only end; unknown if empty
		step, cause     string  // of the only end; none if empty
		seconds         float64
	}
	both := alive("a-c0", "b-c0")
	for name, test := range map[string]struct {
		happens func(l *ledger)
		seen    finalObservation
		want    want
	}{
		"no events": {func(l *ledger) {}, both, want{after: 1}},
		"running, observed often": {func(l *ledger) {
			l.recordAllPods([]corev1.Pod{*podOf("a"), *podOf("b")}, at(11_000))
			lives(l, 12_000, 12_100, "a-c0", "b-c0")
			job(l, running.JobSet{}, 13_000)
		}, both, want{after: 1}},
		"container killed and restarted": {func(l *ledger) {
			l.recordPod(podOf("a", restarted(137, 12_000)), at(14_000))
			job(l, running.JobSet{}, 14_500)
		}, both, want{step: "step-2", cause: "exit code 137", seconds: 12}},
		"container restarted after success": {func(l *ledger) {
			l.recordPod(podOf("a", restarted(0, 12_000)), at(14_000))
			job(l, running.JobSet{}, 14_500)
		}, both, want{step: "step-2", cause: "replaced by container a-c1", seconds: 12}},
		"container failed": {func(l *ledger) {
			l.recordPod(podOf("a", exited(1, 12_000)), at(14_000))
			job(l, running.JobSet{}, 14_500)
		}, both, want{step: "step-2", cause: "exit code 1", seconds: 12}},
		"failure reported two steps later": {func(l *ledger) {
			lives(l, 4_000, 4_100, "a-c0", "b-c0")
			l.recordPod(podOf("a", exited(1, 5_000)), at(25_000))
			job(l, running.JobSet{}, 25_500)
		}, both, want{step: "step-1", cause: "exit code 1", seconds: 5}},
		"end before the last observation, clock behind": {func(l *ledger) {
			lives(l, 12_000, 12_100, "a-c0", "b-c0")
			l.recordPod(podOf("a", exited(1, 2_000)), at(13_000))
			job(l, running.JobSet{}, 14_000)
		}, both, want{step: "step-2", cause: "exit code 1", seconds: 12}},
		"end in a second with two steps": {func(l *ledger) {
			l.recordPod(podOf("a", exited(1, 19_000)), at(21_000))
			job(l, running.JobSet{}, 22_000)
		}, both, want{step: "step-2, step-3", cause: "exit code 1", seconds: 19}},
		"end noticed before the next step": {func(l *ledger) {
			l.recordPod(podOf("a", exited(1, 19_000)), at(19_800))
			job(l, running.JobSet{}, 22_000)
		}, both, want{step: "step-2", cause: "exit code 1", seconds: 19}},
		"one pod succeeded": {func(l *ledger) {
			l.recordPod(podOf("a", exited(0, 12_000)), at(14_000))
		}, alive("b-c0"), want{after: 1}},
		"both pods succeeded and deleted": {func(l *ledger) {
			l.recordPod(podOf("a", exited(0, 12_000)), at(14_000))
			l.recordPod(podOf("b", exited(0, 12_000)), at(14_000))
			l.recordAllPods(nil, at(15_000))
			l.recordJob(testKey, running.JobSet{}, false, at(16_000))
		}, alive(), want{finished: 1}},
		"pod deleted": {func(l *ledger) {
			l.recordPodDeleted("a", at(14_000))
			job(l, running.JobSet{}, 14_500)
		}, both, want{verdict: Interrupted, step: "step-2", cause: "its pod was deleted", seconds: 14}},
		"pod missing from a complete list": {func(l *ledger) {
			l.recordAllPods([]corev1.Pod{*podOf("b")}, at(14_000))
			job(l, running.JobSet{}, 14_500)
		}, both, want{verdict: Interrupted, step: "step-2", cause: "its pod was deleted", seconds: 14}},
		"pod evicted, exit code 0": {func(l *ledger) {
			l.recordPod(podOf("a", deletedAt(11_000), disrupted("EvictionByEvictionAPI"), exited(0, 12_000)), at(13_000))
			job(l, running.JobSet{}, 14_500)
		}, both, want{verdict: Interrupted, step: "step-2", cause: "EvictionByEvictionAPI", seconds: 12}},
		"pod deleted after success": {func(l *ledger) {
			l.recordPod(podOf("a", exited(0, 12_000), deletedAt(14_000)), at(14_100))
			l.recordPodDeleted("a", at(14_200))
			job(l, running.JobSet{}, 15_000)
		}, alive("b-c0"), want{after: 1}},
		"pod deleted after a disruption": {func(l *ledger) {
			l.recordPod(podOf("a", disrupted("DeletionByTaintManager")), at(13_000))
			l.recordPodDeleted("a", at(14_000))
			job(l, running.JobSet{}, 14_500)
		}, both, want{verdict: Interrupted, step: "step-2", cause: "DeletionByTaintManager", seconds: 14}},
		"pod evicted by the kubelet, exit code 0": {func(l *ledger) {
			l.recordPod(podOf("a", exited(0, 12_000), failedPod("Evicted")), at(13_000))
			job(l, running.JobSet{}, 14_500)
		}, both, want{verdict: Interrupted, step: "step-2", cause: "Evicted", seconds: 12}},
		"node lost": {func(l *ledger) {
			l.recordPod(podOf("a", failedPod("NodeLost")), at(13_000))
			job(l, running.JobSet{}, 14_500)
		}, both, want{verdict: Interrupted, step: "step-2", cause: "NodeLost", seconds: 13}},
		"pod rejected by the kubelet": {func(l *ledger) {
			l.recordPod(podOf("a", failedPod("NodeAffinity"), func(p *corev1.Pod) { p.Status.ContainerStatuses = nil }), at(13_000))
			job(l, running.JobSet{}, 14_500)
		}, both, want{verdict: Interrupted, step: "step-2", cause: "NodeAffinity", seconds: 13}},
		"job stopped by its user": {func(l *ledger) {
			l.recordPod(podOf("a", deletedAt(11_000), exited(143, 12_000)), at(13_000))
			l.recordPodDeleted("b", at(14_000))
			job(l, running.JobSet{Stopped: true}, 14_500)
		}, alive(), want{finished: 1}},
		"job stopped and deleted by its user": {func(l *ledger) {
			job(l, running.JobSet{Stopped: true}, 0) // from the watch
			l.recordPod(podOf("a", exited(143, 12_000)), at(13_000))
			l.recordPodDeleted("b", at(14_000))
			l.recordJob(testKey, running.JobSet{}, false, at(14_500))
		}, alive(), want{finished: 1}},
		"job completed, other pod deleted": {func(l *ledger) {
			l.recordPod(podOf("a", exited(0, 12_000)), at(13_000))
			l.recordPod(podOf("b", deletedAt(13_000), exited(143, 14_000)), at(15_000))
			job(l, running.JobSet{Completed: true}, 15_500)
		}, alive(), want{finished: 1}},
		"job completed, container failed": {func(l *ledger) {
			l.recordPod(podOf("a", exited(1, 12_000)), at(13_000))
			job(l, running.JobSet{Completed: true}, 15_500)
		}, both, want{step: "step-2", cause: "exit code 1", seconds: 12}},
		"job read before the end was noticed": {func(l *ledger) {
			l.recordPod(podOf("a", exited(1, 12_000)), at(13_000))
			job(l, running.JobSet{}, 12_999) // settles nothing
			job(l, running.JobSet{Stopped: true}, 13_500)
			l.recordPodDeleted("b", at(14_000))
			job(l, running.JobSet{Stopped: true}, 14_500)
		}, alive(), want{finished: 1}},
		"replaced on the machine, API unavailable": {func(l *ledger) {
			lives(l, 11_000, 11_100, "a-c0", "b-c0")
			lives(l, 14_000, 14_100, "a-c1", "b-c0")
			job(l, running.JobSet{}, 30_000)
		}, both, want{step: "step-2", cause: "replaced by container a-c1", seconds: 14.1}},
		"dead on the machine, success in the API later": {func(l *ledger) {
			lives(l, 14_000, 14_100, "b-c0")
			job(l, running.JobSet{}, 15_000)
			l.recordPod(podOf("a", exited(0, 12_000)), at(30_000))
			job(l, running.JobSet{}, 31_000)
		}, alive("b-c0"), want{after: 1}},
		"dead on the machine, failure in the API later": {func(l *ledger) {
			lives(l, 11_000, 11_100, "a-c0", "b-c0")
			lives(l, 14_000, 14_100, "b-c0")
			l.recordPod(podOf("a", exited(137, 13_000)), at(30_000))
			job(l, running.JobSet{}, 31_000)
		}, both, want{step: "step-2", cause: "exit code 137", seconds: 13}},
		"dead on the machine, unexplained by the API": {func(l *ledger) {
			lives(l, 14_000, 14_100, "b-c0")
			l.settleOverdue(at(14_200))
			l.settleOverdue(at(80_000))
		}, both, want{step: "step-2", cause: "the API does not report its exit code", seconds: 14.1}},
		"dead on the machine, API not observed": {func(l *ledger) {
			lives(l, 14_000, 14_100, "b-c0")
		}, both, want{step: "step-2", cause: "unobserved: its process ended on its machine", seconds: 14.1}},
		"end not settled": {func(l *ledger) {
			l.recordPod(podOf("a", exited(1, 12_000)), at(13_000))
		}, both, want{step: "step-2", cause: "unobserved: exit code 1", seconds: 12}},
		"report of a different machine": {func(l *ledger) {
			l.recordMachine("gpu-02", running.MachineReport{}, at(14_000), at(14_100))
		}, both, want{after: 1}},
		"not observed at the end": {func(l *ledger) {}, finalObservation{alive: map[string]bool{"b-c0": true}, reason: "no route to host"},
			want{step: "step-3", cause: "unobserved: not observed alive at the end (no route to host)", seconds: 100}},
		"output lost": {func(l *ledger) {
			l.recordLostOutput("a-c0", at(25_000))
		}, both, want{verdict: Interrupted, step: "step-3", cause: "output lost", seconds: 25}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := watched()
			test.happens(l)
			r := l.conclude(test.seen, at(100_000))
			interrupted := 0
			if test.want.cause != "" {
				interrupted = 1
			}
			if r.Before != 1 || r.After != test.want.after || r.Finished != test.want.finished || len(r.Interruptions()) != interrupted || len(r.Failed) != 0 || !r.Balanced() {
				t.Fatalf("got %+v, want %+v", r, test.want)
			}
			if interrupted == 0 {
				return
			}
			got, unknown := r.Interruptions()[0], len(r.Unknown) == 1
			if want := test.want.verdict != Interrupted; unknown != want {
				t.Errorf("got unknown %v, want %v: %+v", unknown, want, got)
			}
			if got.Step != test.want.step || !strings.Contains(got.Cause, test.want.cause) || got.Time.Sub(base()).Seconds() != test.want.seconds {
				t.Errorf("got step %q, cause %q after %v s; want %+v", got.Step, got.Cause, got.Time.Sub(base()).Seconds(), test.want)
			}
			if got.Job != "ada~train" || !strings.HasPrefix(got.Pod, "train-") || got.Container != "main" || got.Machine != testMachine {
				t.Errorf("got %+v, want the names of its container", got)
			}
		})
	}
}

func TestLedgerReportsFirstInterruptionOnce(t *testing.T) {
	t.Parallel()
	l := watched()
	l.recordPod(podOf("a", restarted(137, 12_000)), at(13_000))
	if got := l.interruptions(); len(got) != 0 {
		t.Fatalf("got %+v before the job was read, want none", got)
	}
	if got := l.unsettledJobs(); len(got) != 1 || got[0] != testKey {
		t.Fatalf("got unsettled jobs %v, want the job", got)
	}
	job(l, running.JobSet{}, 14_000)
	l.recordKills("a", nil, at(15_000))
	l.recordPod(podOf("a", restarted(1, 15_000)), at(16_000))
	l.recordPodDeleted("a", at(17_000))
	job(l, running.JobSet{}, 18_000)
	if got := l.interruptions(); len(got) != 1 || !strings.Contains(got[0].Cause, "137") {
		t.Fatalf("got %+v, want only the first interruption", got)
	}
}

// TestReportCountsEveryJobOnce: before = after + finished + ended jobs.
func TestReportCountsEveryJobOnce(t *testing.T) {
	t.Parallel()
	pods := []corev1.Pod{}
	for _, name := range []string{"one", "two", "three"} {
		for _, uid := range []string{name + "-a", name + "-b"} {
			p := podOf(uid)
			p.Labels[pai.LabelJob], p.Annotations[pai.AnnotationJobName] = name, name
			pods = append(pods, *p)
		}
	}
	l := newLedger(baselineOf(pods, nil, base()).Jobs, nil, &timeline{}, base())
	for _, uid := range []string{"one-a", "one-b"} { // both containers of one job
		l.recordPod(podOf(uid, exited(1, 1_000)), at(2_000))
	}
	for _, uid := range []string{"two-a", "two-b"} {
		l.recordPod(podOf(uid, exited(0, 1_000)), at(2_000))
	}
	l.recordJob("pai-vc-default/one", running.JobSet{}, true, at(3_000))
	r := l.conclude(alive("three-a-c0", "three-b-c0"), at(4_000))
	if r.Before != 3 || r.After != 1 || r.Finished != 1 || len(r.Interruptions()) != 2 || !r.Balanced() {
		t.Fatalf("got %+v", r)
	}
}

func TestBaselineHasOnlyRunningContainers(t *testing.T) {
	t.Parallel()
	waiting := podOf("c", func(p *corev1.Pod) {
		p.Status.ContainerStatuses[0].State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{}}
	})
	b := baselineOf([]corev1.Pod{*podOf("a"), *podOf("b", exited(0, -1000)), *waiting}, nil, base())
	if len(b.Jobs) != 1 || len(b.Jobs[0].Containers) != 1 || b.Jobs[0].Containers[0].ID != "a-c0" {
		t.Fatalf("got %+v, want the running container", b.Jobs)
	}
	if b := baselineOf([]corev1.Pod{*waiting}, nil, base()); len(b.Jobs) != 0 {
		t.Fatalf("got %+v, want no job without a running container", b.Jobs)
	}
}

func TestFinalObservationNeedsAPIAndMachine(t *testing.T) {
	t.Parallel()
	pods := []corev1.Pod{*podOf("a"), *podOf("b")}
	machine := func(ids ...string) map[string]running.MachineReport {
		m := running.MachineReport{}
		for _, id := range ids {
			m.Containers = append(m.Containers, running.Container{ID: id})
		}
		return map[string]running.MachineReport{testMachine: m}
	}
	lost := map[string]running.MachineReport{testMachine: {Err: errors.New("no route to host")}}
	ready := map[string]bool{testMachine: true}
	for name, test := range map[string]struct {
		pods     []corev1.Pod
		ready    map[string]bool
		machines map[string]running.MachineReport
		api      bool
		all      bool
	}{
		"both report it":                       {pods, ready, machine("a-c0", "b-c0"), true, true},
		"missing on the machine":               {pods, ready, machine("a-c0"), true, false},
		"missing in the API":                   {pods[:1], ready, machine("a-c0", "b-c0"), true, false},
		"API unavailable":                      {nil, nil, machine("a-c0", "b-c0"), false, true},
		"machine unreachable":                  {pods, ready, lost, true, true},
		"machine unreachable, node not ready":  {pods, nil, lost, true, false},
		"machine unreachable, API unavailable": {nil, nil, lost, false, false},
		"no access to machines":                {pods, ready, nil, true, true},
		"replaced in the API":                  {[]corev1.Pod{*podOf("a", restarted(0, 0)), pods[1]}, ready, nil, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, seen := watched(), map[string]bool{}
			l.addAlive(seen, test.pods, test.ready, test.machines, test.api)
			if got := l.allAlive(seen); got != test.all {
				t.Errorf("got all alive %v, want %v", got, test.all)
			}
		})
	}
}
