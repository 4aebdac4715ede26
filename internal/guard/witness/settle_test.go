package witness

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pai.dev/pai/internal/observe/running"
	"pai.dev/pai/internal/pai"
)

// proven is a ledger like watched, with a machine whose boot is known and steps
// that reach nothing until 20 s, when a kubelet is replaced on the test machine.
func proven() *ledger {
	b := baselineOf([]corev1.Pod{*podOf("a"), *podOf("b")}, map[string]running.JobSet{testKey: {Restarts: 1}}, base())
	steps := &timeline{}
	steps.note(base(), Step{ID: "api"})
	steps.note(at(20_000), Step{ID: "kubelet", Machine: testMachine})
	steps.note(at(25_000), Step{ID: "other", Machine: "gpu-02"})
	return newLedger(b.Jobs, map[string]string{testMachine: "one"}, steps, base())
}

func oomKilled(limit bool, atMS int) func(p *corev1.Pod) {
	return func(p *corev1.Pod) {
		exited(137, atMS)(p)
		p.Status.ContainerStatuses[0].State.Terminated.Reason = "OOMKilled"
		if limit {
			p.Spec.Containers = []corev1.Container{{Name: "main", Resources: corev1.ResourceRequirements{
				Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1Gi")}}}}
		}
	}
}

// A container is called failed only after its job, its machine, and the kills of
// its kubelet were observed after its end.
func TestOwnEndNeedsEveryObservation(t *testing.T) {
	t.Parallel()
	ends := func(l *ledger) { l.recordPod(podOf("a", exited(1, 12_000)), at(12_500)) }
	reads := map[string]func(l *ledger){
		"job":     func(l *ledger) { job(l, running.JobSet{}, 15_000) },
		"machine": func(l *ledger) { boots(l, "one", 15_000, 15_100, "b-c0") },
		"kills":   func(l *ledger) { l.recordKills("a", nil, at(15_000)) },
	}
	for _, order := range [][]string{
		{"job", "machine", "kills"}, {"job", "kills", "machine"}, {"machine", "job", "kills"},
		{"machine", "kills", "job"}, {"kills", "job", "machine"}, {"kills", "machine", "job"},
	} {
		l := proven()
		boots(l, "one", 11_000, 11_100, "a-c0", "b-c0")
		ends(l)
		for i, name := range order {
			if r := l.report(); len(r.Failed)+len(r.Interruptions()) != 0 || i == 3 {
				t.Fatalf("%v: got %+v before %s", order, r, name)
			}
			reads[name](l)
		}
		r := l.report()
		if len(r.Failed) != 1 || len(r.Interruptions()) != 0 || r.After != 0 || !r.Balanced() {
			t.Fatalf("%v: got %+v, want one failed container", order, r)
		}
		if got := r.Failed[0]; *got.ExitCode != 1 || got.Step != "api" || len(got.Evidence) != 5 || got.Machine != testMachine {
			t.Errorf("%v: got %+v", order, got)
		}
		if len(l.interruptions()) != 0 {
			t.Errorf("%v: a failed container counts as an interruption", order)
		}
	}
}

func TestSettledEnds(t *testing.T) {
	t.Parallel()
	read := func(l *ledger, ms int, set running.JobSet) {
		boots(l, "one", ms, ms+100, "b-c0")
		l.recordKills("a", nil, at(ms))
		job(l, set, ms)
	}
	for name, test := range map[string]struct {
		happens func(l *ledger)
		want    Verdict
		waits   bool // for something that never comes
	}{
		"exit code 1": {func(l *ledger) {
			l.recordPod(podOf("a", exited(1, 12_000)), at(12_500))
			read(l, 15_000, running.JobSet{})
		}, Failed, false},
		"first noticed on the machine": {func(l *ledger) {
			boots(l, "one", 11_000, 11_100, "a-c0", "b-c0")
			boots(l, "one", 14_000, 14_100, "b-c0")
			l.recordPod(podOf("a", exited(1, 12_000)), at(30_000)) // after the kubelet was replaced
			read(l, 33_000, running.JobSet{})
		}, Failed, false},
		"first noticed after the step": {func(l *ledger) {
			boots(l, "one", 11_000, 11_100, "a-c0", "b-c0")
			l.recordPod(podOf("a", exited(1, 12_000)), at(30_000))
			read(l, 33_000, running.JobSet{})
		}, Unknown, false},
		"seen alive after the step": {func(l *ledger) {
			boots(l, "one", 26_000, 26_100, "a-c0", "b-c0")
			l.recordPod(podOf("a", exited(1, 27_000)), at(30_000))
			read(l, 33_000, running.JobSet{})
		}, Failed, false},
		"SIGKILL in the step": {func(l *ledger) {
			boots(l, "one", 19_000, 19_100, "a-c0", "b-c0")
			l.recordPod(podOf("a", exited(137, 21_000)), at(22_000))
			read(l, 26_000, running.JobSet{})
		}, Interrupted, false},
		"SIGKILL before the step": {func(l *ledger) {
			boots(l, "one", 11_000, 11_100, "a-c0", "b-c0")
			l.recordPod(podOf("a", exited(137, 12_000)), at(13_000))
			read(l, 16_000, running.JobSet{})
		}, Unknown, false},
		"own memory limit": {func(l *ledger) {
			l.recordPod(podOf("a", oomKilled(true, 12_000)), at(13_000))
			read(l, 16_000, running.JobSet{})
		}, Failed, false},
		"no memory limit": {func(l *ledger) {
			l.recordPod(podOf("a", oomKilled(false, 12_000)), at(13_000))
			read(l, 16_000, running.JobSet{})
		}, Unknown, false},
		"killed by the kubelet": {func(l *ledger) {
			l.recordPod(podOf("a", exited(1, 12_000)), at(12_500))
			l.recordKills("a", []kill{{"main", "will be restarted", at(11_000)}}, at(12_600))
			read(l, 15_000, running.JobSet{})
		}, Interrupted, false},
		"other kills": {func(l *ledger) {
			l.recordPod(podOf("a", exited(1, 12_000)), at(12_500))
			l.recordKills("a", []kill{{"side", "will be restarted", at(11_000)}, {"main", "an earlier one", base().Add(-2 * time.Hour)}, {"main", "the rest of the pod", at(14_000)}}, at(14_600))
			read(l, 15_000, running.JobSet{})
		}, Failed, false},
		"kills read too early": {func(l *ledger) {
			l.recordPod(podOf("a", exited(1, 12_000)), at(12_500))
			l.recordKills("a", nil, at(13_000))
			boots(l, "one", 15_000, 15_100, "b-c0")
			job(l, running.JobSet{}, 15_000)
		}, Unknown, true},
		"reboot after the end was noticed": {func(l *ledger) {
			l.recordPod(podOf("a", exited(1, 12_000)), at(12_500))
			l.recordKills("a", nil, at(15_000))
			job(l, running.JobSet{}, 15_000)
			boots(l, "two", 40_000, 40_100, "b-c0")
		}, Interrupted, false},
		"machine silent": {func(l *ledger) {
			l.recordPod(podOf("a", exited(1, 12_000)), at(12_500))
			l.recordKills("a", nil, at(15_000))
			job(l, running.JobSet{}, 15_000)
		}, Unknown, true},
		"eviction noticed after the exit code": {func(l *ledger) {
			l.recordPod(podOf("a", exited(1, 12_000)), at(12_500))
			l.recordPod(podOf("a", exited(1, 12_000), deletedAt(11_000), disrupted("EvictionByEvictionAPI")), at(12_700))
			read(l, 15_000, running.JobSet{})
		}, Interrupted, false},
		"disruption noticed after the exit code": {func(l *ledger) {
			l.recordPod(podOf("a", exited(1, 12_000)), at(12_500))
			l.recordPod(podOf("a", exited(1, 12_000), disrupted("PreemptionByScheduler")), at(12_700))
			read(l, 15_000, running.JobSet{})
		}, Interrupted, false},
		"boot ID read after the end": {func(l *ledger) {
			l.machines = newMachines(nil)
			l.recordPod(podOf("a", exited(1, 12_000)), at(12_500))
			read(l, 15_000, running.JobSet{})
		}, Unknown, false},
		"boot ID read with the container": {func(l *ledger) {
			l.machines = newMachines(nil)
			boots(l, "one", 11_000, 11_100, "a-c0", "b-c0")
			l.recordPod(podOf("a", exited(1, 12_000)), at(12_500))
			read(l, 15_000, running.JobSet{})
		}, Failed, false},
		"pod deleted after the exit code": {func(l *ledger) {
			l.recordPod(podOf("a", exited(1, 12_000)), at(12_500))
			l.recordPod(podOf("a", exited(1, 12_000), deletedAt(13_000)), at(13_100))
			l.recordPodDeleted("a", at(13_500))
			read(l, 15_000, running.JobSet{})
		}, Failed, false},
		"stopped by its user": {func(l *ledger) {
			l.recordPod(podOf("a", exited(1, 12_000)), at(12_500))
			read(l, 15_000, running.JobSet{Stopped: true})
		}, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := proven()
			test.happens(l)
			if got := l.hasPendingEnds(); got != test.waits {
				t.Fatalf("got waiting %v, want %v: %+v", got, test.waits, l.report())
			}
			l.settleOverdue(at(80_000))
			if got := verdictsOf(l.report()); test.want == "" && len(got) != 0 || test.want != "" && !slices.Equal(got, []Verdict{test.want}) {
				t.Errorf("got %v, want %q: %+v", got, test.want, l.report())
			}
		})
	}
}

func verdictsOf(r pai.JobsReport) (list []Verdict) {
	for v, n := range map[Verdict]int{Failed: len(r.Failed), Interrupted: len(r.Interrupted), Unknown: len(r.Unknown)} {
		list = append(list, slices.Repeat([]Verdict{v}, n)...)
	}
	slices.Sort(list)
	return list
}

// A task that fails ends the other tasks of its job. None of them was interrupted.
func TestTasksOfFailedJob(t *testing.T) {
	t.Parallel()
	happens := func(l *ledger, code int32, set running.JobSet) {
		l.recordPod(podOf("a", exited(code, 12_000)), at(12_500))
		l.recordPod(podOf("b", deletedAt(12_600), exited(143, 14_000)), at(14_500))
		job(l, set, 14_600)
		boots(l, "one", 15_000, 15_100)
		l.recordKills("a", nil, at(15_000))
	}
	for name, test := range map[string]struct {
		code int32
		set  running.JobSet
		want []Verdict
	}{
		"the job failed":    {1, running.JobSet{Failed: true, Restarts: 1}, []Verdict{Failed, Failed}},
		"the job restarted": {1, running.JobSet{Restarts: 2}, []Verdict{Failed, Failed}},
		"the job continues": {1, running.JobSet{Restarts: 1}, []Verdict{Failed, Interrupted}},
		"a task was killed": {137, running.JobSet{Failed: true, Restarts: 1}, []Verdict{Unknown, Unknown}},
	} {
		l := proven()
		happens(l, test.code, test.set)
		if got := verdictsOf(l.report()); !slices.Equal(got, test.want) || !l.report().Balanced() {
			t.Errorf("%s: got %v, want %v: %+v", name, got, test.want, l.report())
		}
	}
}

// A container that fails after another one of its job was interrupted might have
// failed because of that.
func TestFailureAfterInterruption(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		deleted int // ms
		want    []Verdict
	}{{11_000, []Verdict{Interrupted, Unknown}}, {14_000, []Verdict{Failed, Interrupted}}} {
		l := proven()
		l.recordPod(podOf("a", exited(1, 12_000)), at(12_500))
		job(l, running.JobSet{Restarts: 1}, 15_000)
		boots(l, "one", 15_000, 15_100)
		l.recordKills("a", nil, at(15_000))
		l.recordPod(podOf("b", deletedAt(test.deleted-500), exited(143, test.deleted)), at(15_500))
		job(l, running.JobSet{Restarts: 1}, 16_000)
		if got := verdictsOf(l.report()); !slices.Equal(got, test.want) {
			t.Errorf("deleted at %d ms: got %v, want %v: %+v", test.deleted, got, test.want, l.report())
		}
	}
}

// The baseline as v0.10 reads and writes it, as far as it concerns ends.
type (
	baselineOfV010 struct {
		Jobs []jobOfV010 `json:"jobs"`
	}
	jobOfV010 struct {
		Containers []containerOfV010 `json:"containers"`
	}
	containerOfV010 struct {
		Result       string     `json:"fate"`
		Interruption *endOfV010 `json:"interruption,omitempty"`
	}
	endOfV010 struct {
		Job   string `json:"job"`
		Cause string `json:"cause"`
	}
)

// The baseline keeps the verdicts in a form that v0.10, which has none, reads as
// interruptions.
func TestBaselineKeepsVerdicts(t *testing.T) {
	t.Parallel()
	l := proven()
	l.recordPod(podOf("a", exited(1, 12_000)), at(12_500))
	boots(l, "one", 15_000, 15_100, "b-c0")
	l.recordKills("a", nil, at(15_000))
	job(l, running.JobSet{}, 15_000)
	data, err := json.Marshal(l.state(at(20_000)))
	if err != nil {
		t.Fatal(err)
	}
	var b Baseline
	if err := json.Unmarshal(data, &b); err != nil {
		t.Fatal(err)
	}
	if r := b.Report(); len(r.Failed) != 1 || r.Before != 1 || !r.Balanced() {
		t.Errorf("got %+v, want the failed container", r)
	}
	var older baselineOfV010
	if err := json.Unmarshal(data, &older); err != nil {
		t.Fatal(err)
	}
	if c := older.Jobs[0].Containers[0]; c.Result != "interrupted" || c.Interruption == nil || c.Interruption.Job != "ada~train" {
		t.Errorf("v0.10 reads %+v, want an interruption", c)
	}
}

// An interruption that v0.10 recorded stays one.
func TestOlderInterruptionStays(t *testing.T) {
	t.Parallel()
	data, err := json.Marshal(baselineOfV010{Jobs: []jobOfV010{{Containers: []containerOfV010{{Result: "interrupted", Interruption: &endOfV010{Job: "ada~train", Cause: "exit code 1"}}}}}})
	if err != nil {
		t.Fatal(err)
	}
	var b Baseline
	if err := json.Unmarshal(data, &b); err != nil {
		t.Fatal(err)
	}
	r := b.Report()
	if len(r.Interrupted) != 1 || !strings.Contains(r.Interrupted[0].Evidence[0], "older paictl") || !r.Balanced() {
		t.Errorf("got %+v", r)
	}
}

// What happened after an earlier witness was killed is unknown: its last step might
// have continued, and others might have started.
func TestStepsAfterBaseline(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		b    Baseline
		want []Step
	}{
		"stopped":          {Baseline{Stopped: true, Step: "a"}, nil},
		"killed in a step": {Baseline{Step: "a", Steps: []Step{{ID: "a"}}}, []Step{{ID: "a", Everywhere: true}}},
		"killed between":   {Baseline{}, []Step{{ID: "an earlier run that was not watched to its end", Everywhere: true}}},
	} {
		if got := test.b.lastSteps(); !slices.Equal(got, test.want) {
			t.Errorf("%s: got %+v, want %+v", name, got, test.want)
		}
	}
}

func TestKillsOfEvent(t *testing.T) {
	t.Parallel()
	e := corev1.Event{Message: "Stopping container main", FirstTimestamp: metav1.NewTime(at(1000)), LastTimestamp: metav1.NewTime(at(3000)),
		InvolvedObject: corev1.ObjectReference{FieldPath: "spec.containers{main}"}}
	want := []kill{{"main", e.Message, at(1000)}, {"main", e.Message, at(3000)}}
	if got := killsOf(e); !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
