package witness

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/observe/running"
	"pai.dev/pai/internal/pai"
)

func pauses(before, after, observed int) inspect.Pauses {
	p := inspect.Pauses{After: time.Duration(after) * time.Second, Observed: time.Duration(observed) * time.Second}
	if before >= 0 {
		d := time.Duration(before) * time.Second
		p.Before = &d
	}
	return p
}

// The line of a job has the pause that exceeds the usual one most, and says how many
// containers have an output that was not observed.
func TestPausesOfAJob(t *testing.T) {
	t.Parallel()
	line := func(pod string, longest, observed float64, usual ...float64) *pai.OutputPause {
		p := &pai.OutputPause{Pod: pod, Container: "main", LongestSeconds: longest, ObservedSeconds: observed}
		if len(usual) > 0 {
			p.UsualSeconds = &usual[0]
		}
		return p
	}
	ok := func(list map[string]inspect.Pauses) map[string]running.PausesReport {
		return map[string]running.PausesReport{testMachine: {Pauses: list}}
	}
	for name, test := range map[string]struct {
		usual      time.Duration // of container a, as the baseline has it; 0 for unknown
		reports    map[string]running.PausesReport
		want       *pai.OutputPause
		unobserved string
	}{
		"longest beyond the usual": {30 * time.Second, ok(map[string]inspect.Pauses{"a-c0": pauses(1, 35, 200), "b-c0": pauses(1, 8, 50)}), line("train-b", 8, 50, 1), ""},
		"the first of equals":      {0, ok(map[string]inspect.Pauses{"a-c0": pauses(-1, 8, 50), "b-c0": pauses(-1, 8, 60)}), line("train-a", 8, 50), ""},
		"shorter than usual":       {30 * time.Second, ok(map[string]inspect.Pauses{"a-c0": pauses(-1, 5, 50), "b-c0": pauses(90, 70, 50)}), line("train-b", 70, 50, 90), ""},
		"at most the operation":    {0, ok(map[string]inspect.Pauses{"a-c0": pauses(2, 3, 9000), "b-c0": pauses(2, 1, 9000)}), line("train-a", 3, 100, 2), ""},
		"one is not reported":      {0, ok(map[string]inspect.Pauses{"b-c0": pauses(2, 1, 50)}), line("train-b", 1, 50, 2), "1 of 2 containers: gpu-01 does not report the container"},
		"one has a problem": {0, map[string]running.PausesReport{testMachine: {Pauses: map[string]inspect.Pauses{"b-c0": pauses(2, 1, 50)}, Problems: map[string]string{"a-c0": "its log has no line"}}},
			line("train-b", 1, 50, 2), "1 of 2 containers: its log has no line"},
		"lost machine":  {0, map[string]running.PausesReport{testMachine: {Err: errors.New("no connection")}}, nil, "2 of 2 containers: no connection"},
		"not asked for": {0, nil, nil, "2 of 2 containers: the logs on gpu-01 were not read"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := watched()
			if test.usual > 0 {
				l.jobs[0].Containers[0].UsualPause = &test.usual
			}
			got := l.perJob(0, test.reports, base(), base().Add(100*time.Second))[0]
			if !reflect.DeepEqual(got.Output, test.want) || got.OutputUnobserved != test.unobserved {
				t.Errorf("got %+v and %q, want %+v and %q", got.Output, got.OutputUnobserved, test.want, test.unobserved)
			}
		})
	}
	if got := seconds(1_506_600 * time.Microsecond); got != 1.507 {
		t.Errorf("got %v seconds, want 1.507", got)
	}
	l := watched()
	l.recordPod(podOf("a", exited(0, 12_000)), at(12_500))
	l.recordPod(podOf("b", exited(0, 12_000)), at(12_500))
	if got := l.perJob(0, nil, base(), at(13_000))[0]; got.Output != nil || got.OutputUnobserved != "" {
		t.Errorf("got %+v and %q of a finished job, want nothing", got.Output, got.OutputUnobserved)
	}
}

// The usual pauses are read at the start, the others of the time since then.
func TestPausesAreReadSinceTheStart(t *testing.T) {
	t.Parallel()
	var ages []time.Duration
	ask := func(_ context.Context, names []string, age time.Duration) map[string]running.PausesReport {
		ages = append(ages, age)
		reports := map[string]running.PausesReport{}
		for _, name := range names {
			reports[name] = running.PausesReport{Pauses: map[string]inspect.Pauses{"a-c0": pauses(4, 9, 50)}}
		}
		return reports
	}
	b := baselineOf([]corev1.Pod{*podOf("a"), *podOf("b")}, nil, base())
	w := &Witness{o: StartOptions{Pauses: ask}, steps: &timeline{}, taken: time.Now().Add(-time.Minute)}
	w.notePauses(t.Context(), b)
	if a, other := b.Jobs[0].Containers[0].UsualPause, b.Jobs[0].Containers[1].UsualPause; a == nil || *a != 4*time.Second || other != nil {
		t.Errorf("got usual pauses %v and %v, want 4 s, and none where none was reported", a, other)
	}
	w.ledger = newLedger(b.clone().Jobs, nil, w.steps, base())
	if got := w.readPauses(t.Context()); got[testMachine].Pauses["a-c0"].After != 9*time.Second {
		t.Errorf("got %+v, want what the machine reports", got)
	}
	if len(ages) != 2 || ages[0] != 0 || ages[1] < time.Minute || ages[1] > 10*time.Minute {
		t.Errorf("asked about %v ago, want now, and the start a minute ago", ages)
	}
	w.notePauses(t.Context(), &Baseline{})
	w.o.Pauses = nil
	w.notePauses(t.Context(), b)
	if got := w.readPauses(t.Context()); got != nil || len(ages) != 2 {
		t.Errorf("got %v, want nothing without jobs or without machines", got)
	}
}
