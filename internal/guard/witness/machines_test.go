package witness

import (
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"pai.dev/pai/internal/observe/running"
)

// boots records a report of the test machine in some boot, with these containers
// alive.
func boots(l *ledger, boot string, asked, now int, ids ...string) {
	reports(l, running.MachineReport{Boot: boot}, asked, now, ids...)
}

// shutsDown records a report of the test machine while it shuts down.
func shutsDown(l *ledger, boot string, asked, now int, ids ...string) {
	reports(l, running.MachineReport{Boot: boot, Stopping: true}, asked, now, ids...)
}

func reports(l *ledger, m running.MachineReport, asked, now int, ids ...string) {
	for _, id := range ids {
		m.Containers = append(m.Containers, running.Container{ID: id, PodUID: id[:1], Name: "main", Namespace: "pai-vc-default"})
	}
	l.recordMachine(testMachine, m, at(asked), at(now))
}

// The report names the failure of a machine as the cause, regardless of the exit
// codes that the API reports afterwards.
func TestReportNamesFailedMachine(t *testing.T) {
	t.Parallel()
	const rebooted, down = "machine gpu-01 rebooted: ", "machine gpu-01 was shut down: "
	for name, test := range map[string]struct {
		happens func(l *ledger)
		prefix  string // of the cause
	}{
		"reboot, API observed first": {func(l *ledger) {
			boots(l, "one", 1_000, 1_100, "a-c0", "b-c0")
			l.recordAllPods([]corev1.Pod{*podOf("a", restarted(255, 2_000)), *podOf("b")}, at(14_000))
			job(l, running.JobSet{}, 14_100)
			boots(l, "two", 15_000, 15_100, "b-c0")
		}, rebooted},
		"reboot, machine observed first": {func(l *ledger) {
			boots(l, "one", 1_000, 1_100, "a-c0", "b-c0")
			boots(l, "two", 12_000, 12_100, "b-c0")
			l.recordAllPods([]corev1.Pod{*podOf("a", restarted(255, 2_000)), *podOf("b")}, at(14_000))
			job(l, running.JobSet{}, 14_100)
		}, rebooted},
		"end before the reboot": {func(l *ledger) {
			boots(l, "one", 1_000, 1_100, "a-c0", "b-c0")
			l.recordAllPods([]corev1.Pod{*podOf("a", restarted(1, 2_000)), *podOf("b")}, at(3_000))
			job(l, running.JobSet{}, 3_100)
			boots(l, "one", 6_000, 6_100, "b-c0")
			boots(l, "two", 15_000, 15_100, "b-c0")
		}, ""},
		"no reboot": {func(l *ledger) {
			boots(l, "one", 1_000, 1_100, "a-c0", "b-c0")
			l.recordAllPods([]corev1.Pod{*podOf("a", restarted(1, 2_000)), *podOf("b")}, at(3_000))
			job(l, running.JobSet{}, 3_100)
			boots(l, "one", 4_000, 4_100, "b-c0")
		}, ""},
		"boot ID unknown at the start": {func(l *ledger) {
			boots(l, "", 1_000, 1_100, "a-c0", "b-c0")
			l.recordAllPods([]corev1.Pod{*podOf("a", restarted(1, 2_000)), *podOf("b")}, at(3_000))
			job(l, running.JobSet{}, 3_100)
			boots(l, "two", 4_000, 4_100, "b-c0")
		}, ""},
		"shutdown": {func(l *ledger) {
			boots(l, "one", 1_000, 1_100, "a-c0", "b-c0")
			l.recordAllPods([]corev1.Pod{*podOf("a", exited(143, 2_000)), *podOf("b")}, at(2_500))
			job(l, running.JobSet{}, 2_600)
			shutsDown(l, "one", 3_000, 3_100, "b-c0")
		}, down},
		"shutdown and reboot": {func(l *ledger) {
			boots(l, "one", 1_000, 1_100, "a-c0", "b-c0")
			shutsDown(l, "one", 3_000, 3_100, "b-c0")
			l.recordAllPods([]corev1.Pod{*podOf("a", exited(143, 2_000)), *podOf("b")}, at(3_200))
			job(l, running.JobSet{}, 3_300)
			boots(l, "two", 14_000, 14_100, "b-c0")
		}, rebooted},
		"shutdown in which systemd did not respond at first": {func(l *ledger) {
			boots(l, "one", 1_000, 1_100, "a-c0", "b-c0")
			l.recordAllPods([]corev1.Pod{*podOf("a", exited(143, 2_000)), *podOf("b")}, at(2_500))
			job(l, running.JobSet{}, 2_600)
			reports(l, running.MachineReport{Boot: "one", StateUnknown: true}, 3_000, 3_100, "b-c0")
			boots(l, "two", 14_000, 14_100, "b-c0")
		}, rebooted},
		"end before the shutdown": {func(l *ledger) {
			boots(l, "one", 1_000, 1_100, "a-c0", "b-c0")
			l.recordAllPods([]corev1.Pod{*podOf("a", exited(143, 2_000)), *podOf("b")}, at(2_500))
			job(l, running.JobSet{}, 2_600)
			boots(l, "one", 4_000, 4_100, "b-c0")
			shutsDown(l, "one", 7_000, 7_100, "b-c0")
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			l := watched()
			test.happens(l)
			list := l.conclude(alive("b-c0"), at(20_000)).Interruptions()
			if len(list) != 1 || !strings.HasPrefix(list[0].Cause, test.prefix) || strings.Count(list[0].Cause, "machine gpu-01") != strings.Count(test.prefix, "machine gpu-01") {
				t.Errorf("got %+v, want one cause that starts with %q", list, test.prefix)
			}
		})
	}
}

// A resumed operation has the boot IDs from the baseline, so it detects a reboot
// between the two runs.
func TestResumeDetectsRebootBetweenRuns(t *testing.T) {
	t.Parallel()
	before := watched()
	boots(before, "one", 1_000, 1_100, "a-c0", "b-c0")
	b := Baseline{Jobs: before.jobs, Boots: before.machines.boots}.clone()
	l := newLedger(b.Jobs, b.Boots, &timeline{}, at(2_000))
	boots(l, "two", 30_000, 30_100)
	list := l.conclude(alive(), at(31_000)).Interruptions()
	if len(list) != 2 || !strings.HasPrefix(list[0].Cause, "machine gpu-01 rebooted: unobserved: ") {
		t.Errorf("got %+v", list)
	}
}

func TestReportNamesUnreachableMachine(t *testing.T) {
	t.Parallel()
	l := watched()
	boots(l, "one", 1_000, 1_100, "a-c0", "b-c0")
	l.recordAllPods([]corev1.Pod{*podOf("a", restarted(255, 2_000)), *podOf("b")}, at(14_000))
	job(l, running.JobSet{}, 14_100)
	reports(l, running.MachineReport{Err: errors.New("no route to host")}, 15_000, 15_100)
	for _, i := range l.conclude(finalObservation{reason: "no route to host"}, at(20_000)).Interruptions() {
		if strings.Count(i.Cause, "no route to host") != 1 {
			t.Errorf("got cause %q, want the reason once", i.Cause)
		}
	}
}
