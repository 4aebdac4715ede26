package witness

import (
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"pai.dev/pai/internal/observe/running"
)

// boots is a look at the test machine in some boot, with these containers alive.
func boots(l *ledger, boot string, asked, now int, ids ...string) {
	looks(l, running.MachineReport{Boot: boot}, asked, now, ids...)
}

// shutsDown is a look at the test machine while it shuts down.
func shutsDown(l *ledger, boot string, asked, now int, ids ...string) {
	looks(l, running.MachineReport{Boot: boot, Stopping: true}, asked, now, ids...)
}

func looks(l *ledger, m running.MachineReport, asked, now int, ids ...string) {
	for _, id := range ids {
		m.Containers = append(m.Containers, running.Container{ID: id, PodUID: id[:1], Name: "main", Namespace: "pai-vc-default"})
	}
	l.sawMachine(testMachine, m, at(asked), at(now))
}

// A machine that dies takes its jobs along, and the report says that it was
// that, whatever the API says of the containers when the machine is back.
func TestAMachineThatDied(t *testing.T) {
	t.Parallel()
	const anew, down = "machine gpu-01 was started anew: ", "machine gpu-01 was shut down: "
	for name, test := range map[string]struct {
		happens func(l *ledger)
		died    string
	}{
		"the API tells before the machine is asked": {func(l *ledger) {
			boots(l, "one", 1_000, 1_100, "a-c0", "b-c0")
			l.sawAllPods([]corev1.Pod{*podOf("a", restarted(255, 2_000)), *podOf("b")}, at(14_000))
			job(l, running.JobSet{}, 14_100)
			boots(l, "two", 15_000, 15_100, "b-c0")
		}, anew},
		"the machine tells before the API": {func(l *ledger) {
			boots(l, "one", 1_000, 1_100, "a-c0", "b-c0")
			boots(l, "two", 12_000, 12_100, "b-c0")
			l.sawAllPods([]corev1.Pod{*podOf("a", restarted(255, 2_000)), *podOf("b")}, at(14_000))
			job(l, running.JobSet{}, 14_100)
		}, anew},
		"it ended before the machine did": {func(l *ledger) {
			boots(l, "one", 1_000, 1_100, "a-c0", "b-c0")
			l.sawAllPods([]corev1.Pod{*podOf("a", restarted(1, 2_000)), *podOf("b")}, at(3_000))
			job(l, running.JobSet{}, 3_100)
			boots(l, "one", 6_000, 6_100, "b-c0")
			boots(l, "two", 15_000, 15_100, "b-c0")
		}, ""},
		"the machine goes on": {func(l *ledger) {
			boots(l, "one", 1_000, 1_100, "a-c0", "b-c0")
			l.sawAllPods([]corev1.Pod{*podOf("a", restarted(1, 2_000)), *podOf("b")}, at(3_000))
			job(l, running.JobSet{}, 3_100)
			boots(l, "one", 4_000, 4_100, "b-c0")
		}, ""},
		"a machine that does not say": {func(l *ledger) {
			boots(l, "", 1_000, 1_100, "a-c0", "b-c0")
			l.sawAllPods([]corev1.Pod{*podOf("a", restarted(1, 2_000)), *podOf("b")}, at(3_000))
			job(l, running.JobSet{}, 3_100)
			boots(l, "two", 4_000, 4_100, "b-c0")
		}, ""},
		"it shuts down": {func(l *ledger) {
			boots(l, "one", 1_000, 1_100, "a-c0", "b-c0")
			l.sawAllPods([]corev1.Pod{*podOf("a", exited(143, 2_000)), *podOf("b")}, at(2_500))
			job(l, running.JobSet{}, 2_600)
			shutsDown(l, "one", 3_000, 3_100, "b-c0")
		}, down},
		"it shuts down and is back": {func(l *ledger) {
			boots(l, "one", 1_000, 1_100, "a-c0", "b-c0")
			shutsDown(l, "one", 3_000, 3_100, "b-c0")
			l.sawAllPods([]corev1.Pod{*podOf("a", exited(143, 2_000)), *podOf("b")}, at(3_200))
			job(l, running.JobSet{}, 3_300)
			boots(l, "two", 14_000, 14_100, "b-c0")
		}, anew},
		"it ended before the machine was shut down": {func(l *ledger) {
			boots(l, "one", 1_000, 1_100, "a-c0", "b-c0")
			l.sawAllPods([]corev1.Pod{*podOf("a", exited(143, 2_000)), *podOf("b")}, at(2_500))
			job(l, running.JobSet{}, 2_600)
			boots(l, "one", 4_000, 4_100, "b-c0")
			shutsDown(l, "one", 7_000, 7_100, "b-c0")
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			l := watched()
			test.happens(l)
			list := l.conclude(alive("b-c0"), at(20_000)).Interrupted
			if len(list) != 1 || !strings.HasPrefix(list[0].Cause, test.died) || strings.Count(list[0].Cause, "machine gpu-01") != strings.Count(test.died, "machine gpu-01") {
				t.Errorf("interrupted: %+v; the cause is to begin with %q", list, test.died)
			}
		})
	}
}

// What an operation that is taken up again knows of the boots is what its first
// run saw: a machine may have died in between.
func TestAMachineThatDiedWhileNobodyWatched(t *testing.T) {
	t.Parallel()
	before := watched()
	boots(before, "one", 1_000, 1_100, "a-c0", "b-c0")
	b := Baseline{Jobs: before.jobs, Boots: before.machines.boots}.clone()
	l := newLedger(b.Jobs, b.Boots, &timeline{}, at(2_000))
	boots(l, "two", 30_000, 30_100)
	list := l.conclude(alive(), at(31_000)).Interrupted
	if len(list) != 2 || !strings.HasPrefix(list[0].Cause, "machine gpu-01 was started anew: unobserved: ") {
		t.Errorf("interrupted: %+v", list)
	}
}

func TestAMachineThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	l := watched()
	boots(l, "one", 1_000, 1_100, "a-c0", "b-c0")
	l.sawAllPods([]corev1.Pod{*podOf("a", restarted(255, 2_000)), *podOf("b")}, at(14_000))
	job(l, running.JobSet{}, 14_100)
	l.sawSilence(testMachine, errors.New("no route to host"))
	for _, i := range l.conclude(lastSeen{reason: "no route to host"}, at(20_000)).Interrupted {
		if strings.Count(i.Cause, "no route to host") != 1 {
			t.Errorf("the cause is %q", i.Cause)
		}
	}
}
