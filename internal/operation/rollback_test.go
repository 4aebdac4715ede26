package operation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pai.dev/pai/internal/guard"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/run"
)

func TestPreviousVersions(t *testing.T) {
	nine := pai.Pair{Services: "v0.9", Kubernetes: "v0.9-pai"}
	mixed := pai.Pair{Services: "v0.9", Kubernetes: "v0.10-pai"}
	ten := pai.Pair{Services: "v0.10", Kubernetes: "v0.10-pai"}
	eleven := pai.Pair{Services: "v0.11", Kubernetes: "v0.11-pai"}
	op := func(verb pai.Verb, from, to pai.Pair, outcome pai.Outcome) pai.Operation {
		return pai.Operation{ID: "x", Verb: verb, From: from, To: to, Outcome: outcome}
	}
	const done, failed, running = pai.OutcomeSucceeded, pai.OutcomeFailed, pai.OutcomeRunning
	kubernetes, services := plan.Target{KubernetesOnly: true}, plan.Target{ServicesOnly: true}
	boot := op("k8s-bootup", pai.Pair{}, pai.Pair{Kubernetes: "v0.9-pai"}, done)
	for _, c := range []struct {
		name   string
		ops    []pai.Operation
		want   pai.Pair
		err    string
		target plan.Target
	}{
		{"no upgrade", []pai.Operation{boot}, pai.Pair{}, "no upgrade that can be rolled back", plan.Target{}},
		{"an upgrade", []pai.Operation{boot, op("upgrade", nine, ten, done)}, nine, "", plan.Target{}},
		{"a failed upgrade that was started again", []pai.Operation{boot, op("upgrade", nine, ten, failed), op("upgrade", mixed, ten, done)}, nine, "", plan.Target{}},
		{"the last of two", []pai.Operation{op("upgrade", nine, ten, done), op("upgrade", ten, eleven, failed)}, ten, "", plan.Target{}},
		{"later operations without upgrade", []pai.Operation{op("upgrade", nine, ten, done), op("service-start", ten, ten, done), op("k8s-clean", ten, ten, done)}, nine, "", plan.Target{}},
		{"already rolled back", []pai.Operation{op("upgrade", nine, ten, done), op("rollback", ten, nine, done)}, nine, "already rolled back to services v0.9 on Kubernetes v0.9-pai", plan.Target{}},
		{"failed rollback", []pai.Operation{op("upgrade", nine, ten, done), op("rollback", ten, nine, failed)}, nine, "", plan.Target{}},
		{"killed rollback", []pai.Operation{op("upgrade", nine, ten, done), op("rollback", ten, nine, running)}, nine, "", plan.Target{}},
		{"rollback of the services only", []pai.Operation{op("upgrade", nine, ten, done), op("rollback", ten, mixed, done)}, nine, "", plan.Target{}},
		{"upgrade after a rollback", []pai.Operation{op("upgrade", mixed, ten, failed), op("rollback", ten, nine, done), op("upgrade", nine, ten, done)}, nine, "", plan.Target{}},
		{"services undone twice", []pai.Operation{op("upgrade", nine, ten, done), op("rollback", ten, mixed, done), op("upgrade", mixed, ten, done), op("rollback", ten, mixed, done)},
			mixed, "already rolled back", plan.Target{}},
		{"Kubernetes after services undone twice", []pai.Operation{op("upgrade", nine, ten, done), op("rollback", ten, mixed, done), op("upgrade", mixed, ten, done), op("rollback", ten, mixed, done)},
			nine, "", kubernetes},
		{"services after Kubernetes alone", []pai.Operation{op("upgrade", nine, mixed, done), op("upgrade", mixed, ten, done)}, mixed, "", services},
		{"Kubernetes before services", []pai.Operation{op("upgrade", nine, mixed, done), op("upgrade", mixed, ten, done)}, nine, "", kubernetes},
		{"Kubernetes again", []pai.Operation{op("upgrade", nine, mixed, done), op("upgrade", mixed, ten, done), op("rollback", ten, nine, done)}, nine, "already rolled back", kubernetes},
		{"a failed rollback of Kubernetes", []pai.Operation{op("upgrade", nine, ten, done), op("rollback", mixed, nine, failed)}, nine, "", kubernetes},
		{"services undone between two attempts", []pai.Operation{op("upgrade", nine, eleven, failed), op("rollback", ten, mixed, done), op("upgrade", mixed, eleven, done)},
			nine, "", kubernetes},
		{"no services yet", []pai.Operation{op("upgrade", nine, mixed, done)}, pai.Pair{}, "no upgrade that can be rolled back", services},
	} {
		t.Run(c.name, func(t *testing.T) {
			searches := newRollbackSearches()
			for _, op := range slices.Backward(c.ops) {
				if searches.add(op) {
					break
				}
			}
			search := searches.of(c.target)
			got, err := search.versions()
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) || pai.CodeOf(err) != pai.CodeRefused {
					t.Fatalf("got %v, want a refusal with %q", err, c.err)
				}
				return
			}
			if err != nil || got != c.want {
				t.Errorf("got %v, %v, want %v", got, err, c.want)
			}
		})
	}
}

func TestReasonNotToRollBack(t *testing.T) {
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	stop := make(chan struct{})
	close(stop)
	failed := pai.Operation{Outcome: pai.OutcomeFailed, Steps: []pai.StepRecord{{Outcome: pai.OutcomeFailed}}}
	refused := pai.Operation{Outcome: pai.OutcomeFailed, Steps: []pai.StepRecord{{Outcome: pai.OutcomeRefused}}}
	interrupted := failed
	interrupted.Jobs.Interrupted = []pai.ContainerEnd{{}}
	err := errors.New("step failed")
	for _, c := range []struct {
		name          string
		ctx           context.Context
		op            pai.Operation
		stop          <-chan struct{}
		err, observed error
		want          string // in the reason; empty for a rollback
	}{
		{"a step failed", t.Context(), failed, nil, err, nil, ""},
		{"stopped at once", canceled, failed, nil, err, nil, "it was stopped"},
		{"stopped at a safe point", t.Context(), failed, stop, err, nil, "it was stopped"},
		{"a job was interrupted", t.Context(), interrupted, nil, err, nil, "a running job was interrupted"},
		{"a step was refused", t.Context(), refused, nil, err, nil, "stopped at a safe point"},
		{"the lock is lost", t.Context(), failed, nil, fmt.Errorf("step failed: %w", run.ErrLost), nil, "lock was lost"},
		{"the lock is not released", t.Context(), failed, nil, fmt.Errorf("step failed: %w", run.ErrNotReleased), nil, "lock could not be released"},
		{"the cluster is not observed", t.Context(), failed, nil, err, errors.New("connection refused"), "connection refused"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := reasonNotToRollBack(c.ctx, c.op, c.stop, c.err, c.observed)
			if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// Each part of a loss is accepted by name.
func TestRequireConsent(t *testing.T) {
	s := consequences{risks: map[string]string{guard.AcceptLoss: "writes are lost", guard.AcceptInterrupt: "jobs end"}}
	for _, c := range []struct {
		accepted []string
		missing  []string
	}{
		{nil, []string{"writes are lost", "jobs end"}},
		{[]string{guard.AcceptLoss}, []string{"jobs end"}},
		{[]string{guard.AcceptInterrupt}, []string{"writes are lost"}},
		{[]string{guard.AcceptInterrupt, guard.AcceptLoss}, nil},
	} {
		err := s.requireConsent(c.accepted)
		if (err == nil) != (len(c.missing) == 0) {
			t.Errorf("%v accepted: %v", c.accepted, err)
		}
		for _, m := range c.missing {
			if err == nil || !strings.Contains(err.Error(), m) || pai.ExitCode(err) != 3 {
				t.Errorf("%v accepted: got %v, want %q in it", c.accepted, err, m)
			}
		}
	}
	if err := (consequences{}).requireConsent(nil); err != nil {
		t.Error(err)
	}
}
