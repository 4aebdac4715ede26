package cli

import (
	"strings"
	"testing"
	"time"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/run"
	"pai.dev/pai/internal/upgrade"
)

// TestUpgradeStatusText: whoever reads it knows who waits for whom, whose a
// cordon is, who holds the lock, and what to type.
func TestUpgradeStatusText(t *testing.T) {
	t.Parallel()
	began := time.Date(2026, 3, 1, 8, 0, 0, 0, time.Local)
	waiting := pai.Waiting{Machine: "gpu-03", Jobs: []pai.JobRef{{User: "ada", Name: "llama"}, {User: "bob", Name: "bert"}}, Reason: "static CPU manager", Since: began}
	op := &pai.Operation{ID: "op-1", By: "ann@desk", Started: began, Outcome: pai.OutcomeWaiting, To: pai.Pair{Services: "v0.10", Kubernetes: "v0.10-pai"}}
	for name, c := range map[string]struct {
		st   upgrade.Status
		want []string
	}{
		"nothing": {upgrade.Status{State: upgrade.StateNone}, []string{"no upgrade is under way"}},
		"waiting": {upgrade.Status{State: upgrade.StateWaiting, Operation: op, Done: []string{"a", "b"}, Left: []string{"machine/gpu-03/kubelet"},
			Waiting:  []upgrade.WaitingState{{Waiting: waiting}},
			Cordoned: []upgrade.CordonState{{Machine: "gpu-03", By: "PAI", Operation: "op-1"}, {Machine: "gpu-07", By: "an operator"}},
			Next:     "paictl upgrade resume --wait"},
			[]string{"waiting (operation op-1, by ann@desk", "2 done, 1 left", "machine/gpu-03/kubelet",
				"gpu-03 since 2026-03-01 08:00:00 for ada~llama, bob~bert", "static CPU manager",
				"gpu-03, by PAI, in operation op-1", "gpu-07, by an operator\n", "go on with: paictl upgrade resume --wait"}},
		"killed": {upgrade.Status{State: upgrade.StateUnfinished, Operation: &pai.Operation{ID: "op-2", Outcome: pai.OutcomeRunning},
			Lock: &upgrade.LockState{Holder: run.Holder{User: "ann", Host: "desk", PID: 7}, Health: "dead"}, APIError: "connection refused", Next: "paictl upgrade resume"},
			[]string{"unfinished, because who carried it out is gone", "held by ann@desk (process 7", "that process is dead", "the API does not answer", "connection refused", "go on with: paictl upgrade resume"}},
		"given up": {upgrade.Status{State: upgrade.StateAbandoned, Operation: op, Done: []string{"a", "b"}, Left: []string{"machine/gpu-03/kubelet"},
			Abandoned: &upgrade.Abandoned{Operation: "op-2", By: "bob@desk", At: began.Add(time.Hour)}},
			[]string{"abandoned (operation op-1, by ann@desk", "2 done, 1 left", "machine/gpu-03/kubelet", "given up      by bob@desk, 2026-03-01 09:00:00, in operation op-2"}},
	} {
		var out strings.Builder
		if err := writeUpgradeStatus(&out, c.st); err != nil {
			t.Fatal(err)
		}
		for _, want := range c.want {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s: does not say %q:\n%s", name, want, out.String())
			}
		}
	}
}
