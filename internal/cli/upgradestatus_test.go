package cli

import (
	"strings"
	"testing"
	"time"

	"pai.dev/pai/internal/cli/ui"
	"pai.dev/pai/internal/operation"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/run"
)

// The text names the waiting machines and their jobs, the owner of each cordon,
// the holder of the lock, and the next command.
func TestUpgradeStatusText(t *testing.T) {
	t.Parallel()
	began := time.Date(2026, 3, 1, 8, 0, 0, 0, time.Local)
	waiting := pai.Waiting{Machine: "gpu-03", Jobs: []pai.JobRef{{User: "ada", Name: "llama"}, {User: "bob", Name: "bert"}}, Reason: "static CPU manager", Since: began}
	op := &pai.Operation{ID: "op-1", By: "ann@desk", Started: began, Outcome: pai.OutcomeWaiting, To: pai.Pair{Services: "v0.10", Kubernetes: "v0.10-pai"}}
	for name, c := range map[string]struct {
		st   operation.Status
		want []string
	}{
		"nothing": {operation.Status{State: operation.StateNone}, []string{"no upgrade is in progress or unfinished"}},
		"waiting": {operation.Status{State: operation.StateWaiting, Operation: op, Done: []string{"a", "b"}, Left: []string{"machine/gpu-03/kubelet"},
			Waiting:  []operation.WaitingState{{Waiting: waiting}},
			Cordoned: []operation.CordonState{{Machine: "gpu-03", By: "PAI", Operation: "op-1"}, {Machine: "gpu-07", By: "an operator"}},
			Next:     "paictl upgrade resume --wait"},
			[]string{"waiting (operation op-1, by ann@desk", "2 done, 1 left", "machine/gpu-03/kubelet",
				"gpu-03 since 2026-03-01 08:00:00 for ada~llama, bob~bert", "static CPU manager",
				"gpu-03, by PAI, in operation op-1", "gpu-07, by an operator\n", "to continue, run: paictl upgrade resume --wait"}},
		"killed": {operation.Status{State: operation.StateUnfinished, Operation: &pai.Operation{ID: "op-2", Outcome: pai.OutcomeRunning},
			Lock: &operation.LockState{Holder: run.Holder{User: "ann", Host: "desk", PID: 7}, Health: "dead"}, APIError: "connection refused", Next: "paictl upgrade resume"},
			[]string{"unfinished, its process is no longer running", "held by ann@desk (process 7", "that process is no longer running", "the API server is not responding", "connection refused", "to continue, run: paictl upgrade resume"}},
		"failed": {operation.Status{State: operation.StateUnfinished, Operation: &pai.Operation{ID: "op-3", Outcome: pai.OutcomeFailed, Error: "step a failed: exit status 1",
			Steps: []pai.StepRecord{{ID: "a", Outcome: pai.OutcomeFailed, Error: "exit status 1", Details: "the journal of pai-etcd-a ends with:\n    one"}}}},
			[]string{"unfinished, failed", "  error   step a failed: exit status 1\n            the journal of pai-etcd-a ends with:\n                one\n"}},
		"rollback waits": {operation.Status{State: operation.StateWaiting, Operation: &pai.Operation{ID: "op-4", Verb: pai.VerbRollback, Outcome: pai.OutcomeWaiting, To: op.To},
			Waiting: []operation.WaitingState{{Waiting: waiting, Ready: true}}, Next: "paictl upgrade rollback"},
			[]string{"rollback to services v0.10 on Kubernetes v0.10-pai: waiting (operation op-4", "no job; it can be rolled back", "to continue, run: paictl upgrade rollback\n"}},
		"rollback during an outage": {operation.Status{State: operation.StateUnfinished, Operation: &pai.Operation{ID: "op-4", Verb: pai.VerbRollback, To: pai.Pair{Kubernetes: "v0.10-pai"}}},
			[]string{"rollback to Kubernetes v0.10-pai; services: unknown: unfinished, "}},
		"abandoned": {operation.Status{State: operation.StateAbandoned, Operation: op, Done: []string{"a", "b"}, Left: []string{"machine/gpu-03/kubelet"},
			Abandoned: &operation.Abandoned{Operation: "op-2", By: "bob@desk", At: began.Add(time.Hour)}},
			[]string{"abandoned (operation op-1, by ann@desk", "2 done, 1 left", "machine/gpu-03/kubelet", "abandoned   by bob@desk, 2026-03-01 09:00:00, in operation op-2"}},
	} {
		var out strings.Builder
		if err := ui.Text(&out, func(p *ui.Page) { writeUpgradeStatus(p, c.st) }); err != nil {
			t.Fatal(err)
		}
		for _, want := range c.want {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s: got no %q in:\n%s", name, want, out.String())
			}
		}
	}
}
