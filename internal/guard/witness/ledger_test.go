package witness

import (
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

// podOf is a pod of a job with one container, changed by what follows.
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

// restarted is a container that took the place of the one that ran.
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

// watched is a ledger with one job of two pods, a and b.
func watched() *ledger {
	b := baselineOf([]corev1.Pod{*podOf("a"), *podOf("b")}, nil, base())
	steps := &timeline{}
	steps.note(base(), "step-1")
	steps.note(at(10_000), "step-2")
	steps.note(at(20_000), "step-3")
	return newLedger(b.Jobs, nil, steps, base())
}

// lives is a look at the test machine that shows these containers alive.
func lives(l *ledger, asked, now int, ids ...string) {
	var list []running.Container
	for _, id := range ids {
		list = append(list, running.Container{ID: id, PodUID: id[:1], Name: "main", Namespace: "pai-vc-default"})
	}
	l.sawMachine(testMachine, running.MachineReport{Containers: list}, at(asked), at(now))
}

// job is a look at the job's own object.
func job(l *ledger, set running.JobSet, ms int) { l.sawJob(testKey, set, true, at(ms)) }

func alive(ids ...string) lastSeen {
	seen := lastSeen{alive: map[string]bool{}}
	for _, id := range ids {
		seen.alive[id] = true
	}
	return seen
}

func TestLedger(t *testing.T) {
	t.Parallel()
	type want struct {
		after, finished int
		step, cause     string // of the only interruption, which is none when empty
		seconds         float64
	}
	both := alive("a-c0", "b-c0")
	for name, test := range map[string]struct {
		happens func(l *ledger)
		seen    lastSeen
		want    want
	}{
		"nothing happens": {func(l *ledger) {}, both, want{after: 1}},
		"a pod runs on, seen often": {func(l *ledger) {
			l.sawAllPods([]corev1.Pod{*podOf("a"), *podOf("b")}, at(11_000))
			lives(l, 12_000, 12_100, "a-c0", "b-c0")
			job(l, running.JobSet{}, 13_000)
		}, both, want{after: 1}},
		"a container is killed and restarted": {func(l *ledger) {
			l.sawPod(podOf("a", restarted(137, 12_000)), at(14_000))
			job(l, running.JobSet{}, 14_500)
		}, both, want{step: "step-2", cause: "exit code 137", seconds: 12}},
		"a container that ended with success is restarted": {func(l *ledger) {
			l.sawPod(podOf("a", restarted(0, 12_000)), at(14_000))
			job(l, running.JobSet{}, 14_500)
		}, both, want{step: "step-2", cause: "replaced by container a-c1", seconds: 12}},
		"a container ends with an error": {func(l *ledger) {
			l.sawPod(podOf("a", exited(1, 12_000)), at(14_000))
			job(l, running.JobSet{}, 14_500)
		}, both, want{step: "step-2", cause: "exit code 1", seconds: 12}},
		"an error becomes known two steps later": {func(l *ledger) {
			lives(l, 4_000, 4_100, "a-c0", "b-c0")
			l.sawPod(podOf("a", exited(1, 5_000)), at(25_000))
			job(l, running.JobSet{}, 25_500)
		}, both, want{step: "step-1", cause: "exit code 1", seconds: 5}},
		"a machine whose clock is behind does not date an end before its life": {func(l *ledger) {
			lives(l, 12_000, 12_100, "a-c0", "b-c0")
			l.sawPod(podOf("a", exited(1, 2_000)), at(13_000))
			job(l, running.JobSet{}, 14_000)
		}, both, want{step: "step-2", cause: "exit code 1", seconds: 12}},
		"a second that two steps share names both": {func(l *ledger) {
			l.sawPod(podOf("a", exited(1, 19_000)), at(21_000))
			job(l, running.JobSet{}, 22_000)
		}, both, want{step: "step-2, step-3", cause: "exit code 1", seconds: 19}},
		"a step that began after the end was seen is not named": {func(l *ledger) {
			l.sawPod(podOf("a", exited(1, 19_000)), at(19_800))
			job(l, running.JobSet{}, 22_000)
		}, both, want{step: "step-2", cause: "exit code 1", seconds: 19}},
		"one pod ends with success": {func(l *ledger) {
			l.sawPod(podOf("a", exited(0, 12_000)), at(14_000))
		}, alive("b-c0"), want{after: 1}},
		"both pods end with success, and go": {func(l *ledger) {
			l.sawPod(podOf("a", exited(0, 12_000)), at(14_000))
			l.sawPod(podOf("b", exited(0, 12_000)), at(14_000))
			l.sawAllPods(nil, at(15_000))
			l.sawAllJobs(nil, at(16_000))
		}, alive(), want{finished: 1}},
		"a pod is deleted": {func(l *ledger) {
			l.podGone("a", at(14_000))
			job(l, running.JobSet{}, 14_500)
		}, both, want{step: "step-2", cause: "its pod was deleted", seconds: 14}},
		"a pod is missing from a complete list": {func(l *ledger) {
			l.sawAllPods([]corev1.Pod{*podOf("b")}, at(14_000))
			job(l, running.JobSet{}, 14_500)
		}, both, want{step: "step-2", cause: "its pod was deleted", seconds: 14}},
		"an evicted pod ends with success": {func(l *ledger) {
			l.sawPod(podOf("a", deletedAt(11_000), disrupted("EvictionByEvictionAPI"), exited(0, 12_000)), at(13_000))
			job(l, running.JobSet{}, 14_500)
		}, both, want{step: "step-2", cause: "EvictionByEvictionAPI", seconds: 12}},
		"a pod ends with success and is deleted afterwards": {func(l *ledger) {
			l.sawPod(podOf("a", exited(0, 12_000), deletedAt(14_000)), at(14_100))
			l.podGone("a", at(14_200))
			job(l, running.JobSet{}, 15_000)
		}, alive("b-c0"), want{after: 1}},
		"a deleted pod says why before it goes": {func(l *ledger) {
			l.sawPod(podOf("a", disrupted("DeletionByTaintManager")), at(13_000))
			l.podGone("a", at(14_000))
			job(l, running.JobSet{}, 14_500)
		}, both, want{step: "step-2", cause: "DeletionByTaintManager", seconds: 14}},
		"the kubelet evicts a pod, whose container ends with success": {func(l *ledger) {
			l.sawPod(podOf("a", exited(0, 12_000), failedPod("Evicted")), at(13_000))
			job(l, running.JobSet{}, 14_500)
		}, both, want{step: "step-2", cause: "Evicted", seconds: 12}},
		"the node is lost": {func(l *ledger) {
			l.sawPod(podOf("a", failedPod("NodeLost")), at(13_000))
			job(l, running.JobSet{}, 14_500)
		}, both, want{step: "step-2", cause: "NodeLost", seconds: 13}},
		"the kubelet rejects a running pod": {func(l *ledger) {
			l.sawPod(podOf("a", failedPod("NodeAffinity"), func(p *corev1.Pod) { p.Status.ContainerStatuses = nil }), at(13_000))
			job(l, running.JobSet{}, 14_500)
		}, both, want{step: "step-2", cause: "NodeAffinity", seconds: 13}},
		"its user stops the job": {func(l *ledger) {
			l.sawPod(podOf("a", deletedAt(11_000), exited(143, 12_000)), at(13_000))
			l.podGone("b", at(14_000))
			job(l, running.JobSet{Stopped: true}, 14_500)
		}, alive(), want{finished: 1}},
		"its user stops the job, whose object is gone when it is read": {func(l *ledger) {
			job(l, running.JobSet{Stopped: true}, 0) // seen by the watch
			l.sawPod(podOf("a", exited(143, 12_000)), at(13_000))
			l.podGone("b", at(14_000))
			l.sawJob(testKey, running.JobSet{}, false, at(14_500))
		}, alive(), want{finished: 1}},
		"the job completes, and its other pod is deleted for it": {func(l *ledger) {
			l.sawPod(podOf("a", exited(0, 12_000)), at(13_000))
			l.sawPod(podOf("b", deletedAt(13_000), exited(143, 14_000)), at(15_000))
			job(l, running.JobSet{Completed: true}, 15_500)
		}, alive(), want{finished: 1}},
		"a container failed although its job completed": {func(l *ledger) {
			l.sawPod(podOf("a", exited(1, 12_000)), at(13_000))
			job(l, running.JobSet{Completed: true}, 15_500)
		}, both, want{step: "step-2", cause: "exit code 1", seconds: 12}},
		"the job's object was read before the end was seen": {func(l *ledger) {
			l.sawPod(podOf("a", exited(1, 12_000)), at(13_000))
			job(l, running.JobSet{}, 12_999) // settles nothing
			job(l, running.JobSet{Stopped: true}, 13_500)
			l.podGone("b", at(14_000))
			job(l, running.JobSet{Stopped: true}, 14_500)
		}, alive(), want{finished: 1}},
		"the machine shows another container in its place, the API is away": {func(l *ledger) {
			lives(l, 11_000, 11_100, "a-c0", "b-c0")
			lives(l, 14_000, 14_100, "a-c1", "b-c0")
			job(l, running.JobSet{}, 30_000)
		}, both, want{step: "step-2", cause: "replaced by container a-c1", seconds: 14.1}},
		"the machine shows it dead, the API says success later": {func(l *ledger) {
			lives(l, 14_000, 14_100, "b-c0")
			job(l, running.JobSet{}, 15_000)
			l.sawPod(podOf("a", exited(0, 12_000)), at(30_000))
			job(l, running.JobSet{}, 31_000)
		}, alive("b-c0"), want{after: 1}},
		"the machine shows it dead, the API says error later": {func(l *ledger) {
			lives(l, 11_000, 11_100, "a-c0", "b-c0")
			lives(l, 14_000, 14_100, "b-c0")
			l.sawPod(podOf("a", exited(137, 13_000)), at(30_000))
			job(l, running.JobSet{}, 31_000)
		}, both, want{step: "step-2", cause: "exit code 137", seconds: 13}},
		"the machine shows it dead, the API never says how": {func(l *ledger) {
			lives(l, 14_000, 14_100, "b-c0")
			l.overdue(at(14_200), time.Minute)
			l.overdue(at(80_000), time.Minute)
		}, both, want{step: "step-2", cause: "the API does not say how", seconds: 14.1}},
		"the machine shows it dead, and nobody could ask how": {func(l *ledger) {
			lives(l, 14_000, 14_100, "b-c0")
		}, both, want{step: "step-2", cause: "unobserved: its process has ended on its machine", seconds: 14.1}},
		"an end that could not be settled": {func(l *ledger) {
			l.sawPod(podOf("a", exited(1, 12_000)), at(13_000))
		}, both, want{step: "step-2", cause: "unobserved: exit code 1", seconds: 12}},
		"another machine's answer says nothing": {func(l *ledger) {
			l.sawMachine("gpu-02", running.MachineReport{}, at(14_000), at(14_100))
		}, both, want{after: 1}},
		"nobody could look at the end": {func(l *ledger) {}, lastSeen{alive: map[string]bool{"b-c0": true}, reason: "no answer"},
			want{step: "step-3", cause: "unobserved: it was not seen alive at the end (no answer)", seconds: 100}},
		"its output is broken": {func(l *ledger) {
			l.sawOutputBreak("a-c0", at(25_000))
		}, both, want{step: "step-3", cause: "its output is broken", seconds: 25}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := watched()
			test.happens(l)
			r := l.conclude(test.seen, at(100_000))
			broken := 0
			if test.want.cause != "" {
				broken = 1
			}
			if r.Before != 1 || r.After != test.want.after || r.Finished != test.want.finished || len(r.Interrupted) != broken {
				t.Fatalf("got %+v, want %+v", r, test.want)
			}
			if broken == 0 {
				return
			}
			got := r.Interrupted[0]
			if got.Step != test.want.step || !strings.Contains(got.Cause, test.want.cause) || got.Time.Sub(base()).Seconds() != test.want.seconds {
				t.Errorf("step %q, cause %q after %v s; want %+v", got.Step, got.Cause, got.Time.Sub(base()).Seconds(), test.want)
			}
			if got.Job != "ada~train" || !strings.HasPrefix(got.Pod, "train-") || got.Container != "main" || got.Machine != testMachine {
				t.Errorf("the interruption does not name its container: %+v", got)
			}
		})
	}
}

func TestInterruptionsAreKnownAtOnceAndOnce(t *testing.T) {
	t.Parallel()
	l := watched()
	l.sawPod(podOf("a", restarted(137, 12_000)), at(13_000))
	if got := l.interruptions(); len(got) != 0 {
		t.Fatalf("interrupted before the job's object was read: %+v", got)
	}
	if got := l.suspects(); len(got) != 1 || got[0] != testKey {
		t.Fatalf("suspects are %v, want the job", got)
	}
	job(l, running.JobSet{}, 14_000)
	l.sawPod(podOf("a", restarted(1, 15_000)), at(16_000))
	l.podGone("a", at(17_000))
	job(l, running.JobSet{}, 18_000)
	if got := l.interruptions(); len(got) != 1 || !strings.Contains(got[0].Cause, "137") {
		t.Fatalf("got %+v, want one interruption, the first", got)
	}
}

// TestCountsAddUp: before = after + finished + distinct interrupted jobs.
func TestCountsAddUp(t *testing.T) {
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
		l.sawPod(podOf(uid, exited(1, 1_000)), at(2_000))
	}
	for _, uid := range []string{"two-a", "two-b"} {
		l.sawPod(podOf(uid, exited(0, 1_000)), at(2_000))
	}
	l.sawJob("pai-vc-default/one", running.JobSet{}, true, at(3_000))
	r := l.conclude(alive("three-a-c0", "three-b-c0"), at(4_000))
	if r.Before != 3 || r.After != 1 || r.Finished != 1 || len(r.Interrupted) != 2 {
		t.Fatalf("got %+v", r)
	}
}

func TestBaselineTakesWhatRuns(t *testing.T) {
	t.Parallel()
	waiting := podOf("c", func(p *corev1.Pod) {
		p.Status.ContainerStatuses[0].State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{}}
	})
	b := baselineOf([]corev1.Pod{*podOf("a"), *podOf("b", exited(0, -1000)), *waiting}, nil, base())
	if len(b.Jobs) != 1 || len(b.Jobs[0].Containers) != 1 || b.Jobs[0].Containers[0].ID != "a-c0" {
		t.Fatalf("got %+v, want the one container that runs", b.Jobs)
	}
	if b := baselineOf([]corev1.Pod{*waiting}, nil, base()); len(b.Jobs) != 0 {
		t.Fatalf("a job of which no container runs is not watched, got %+v", b.Jobs)
	}
}

func TestFinalLookNeedsBothWitnesses(t *testing.T) {
	t.Parallel()
	pods := []corev1.Pod{*podOf("a"), *podOf("b")}
	machine := func(ids ...string) map[string]running.MachineReport {
		m := running.MachineReport{}
		for _, id := range ids {
			m.Containers = append(m.Containers, running.Container{ID: id})
		}
		return map[string]running.MachineReport{testMachine: m}
	}
	lost := map[string]running.MachineReport{testMachine: {Err: errLost{}}}
	ready := map[string]bool{testMachine: true}
	for name, test := range map[string]struct {
		pods     []corev1.Pod
		ready    map[string]bool
		machines map[string]running.MachineReport
		api      bool
		all      bool
	}{
		"both say so":                            {pods, ready, machine("a-c0", "b-c0"), true, true},
		"the machine misses one":                 {pods, ready, machine("a-c0"), true, false},
		"the API misses one":                     {pods[:1], ready, machine("a-c0", "b-c0"), true, false},
		"the API is away":                        {nil, nil, machine("a-c0", "b-c0"), false, true},
		"the machine cannot be asked":            {pods, ready, lost, true, true},
		"nor does its kubelet report":            {pods, nil, lost, true, false},
		"nobody can be asked":                    {nil, nil, lost, false, false},
		"there is no way to ask machines":        {pods, ready, nil, true, true},
		"the API shows a container of its place": {[]corev1.Pod{*podOf("a", restarted(0, 0)), pods[1]}, ready, nil, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, seen := watched(), map[string]bool{}
			l.addAlive(seen, test.pods, test.ready, test.machines, test.api)
			if got := l.allIn(seen); got != test.all {
				t.Errorf("all alive: %v, want %v", got, test.all)
			}
		})
	}
}

type errLost struct{}

func (errLost) Error() string { return "connection lost" }
