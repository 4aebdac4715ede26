package operation

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"pai.dev/pai/internal/guard"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/run"
)

func TestFormerPair(t *testing.T) {
	nine := pai.Pair{Services: "v0.9", Kubernetes: "v0.9-pai"}
	mixed := pai.Pair{Services: "v0.9", Kubernetes: "v0.10-pai"}
	ten := pai.Pair{Services: "v0.10", Kubernetes: "v0.10-pai"}
	eleven := pai.Pair{Services: "v0.11", Kubernetes: "v0.11-pai"}
	op := func(verb pai.Verb, from, to pai.Pair, outcome pai.Outcome) pai.Operation {
		return pai.Operation{ID: "x", Verb: verb, From: from, To: to, Outcome: outcome}
	}
	const done, failed, running = pai.OutcomeSucceeded, pai.OutcomeFailed, pai.OutcomeRunning
	boot := op("k8s-bootup", pai.Pair{}, pai.Pair{Kubernetes: "v0.9-pai"}, done)
	for _, c := range []struct {
		name string
		ops  []pai.Operation
		want pai.Pair
		err  string
	}{
		{"nothing was moved", []pai.Operation{boot}, pai.Pair{}, "no upgrade is recorded"},
		{"an upgrade", []pai.Operation{boot, op("upgrade", nine, ten, done)}, nine, ""},
		{"one that failed and was begun anew", []pai.Operation{boot, op("upgrade", nine, ten, failed), op("upgrade", mixed, ten, done)}, nine, ""},
		{"the last of two", []pai.Operation{op("upgrade", nine, ten, done), op("upgrade", ten, eleven, failed)}, ten, ""},
		{"what moved nothing", []pai.Operation{op("upgrade", nine, ten, done), op("service-start", ten, ten, done), op("k8s-clean", ten, ten, done)}, nine, ""},
		{"back already", []pai.Operation{op("upgrade", nine, ten, done), op("rollback", ten, nine, done)}, nine, "went back to services v0.9 on Kubernetes v0.9-pai already"},
		{"a way back that failed", []pai.Operation{op("upgrade", nine, ten, done), op("rollback", ten, nine, failed)}, nine, ""},
		{"a way back that was killed", []pai.Operation{op("upgrade", nine, ten, done), op("rollback", ten, nine, running)}, nine, ""},
		{"a way back of the services alone", []pai.Operation{op("upgrade", nine, ten, done), op("rollback", ten, mixed, done)}, nine, ""},
		{"forward after a way back", []pai.Operation{op("upgrade", mixed, ten, failed), op("rollback", ten, nine, done), op("upgrade", nine, ten, done)}, nine, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := previousVersions(c.ops)
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

// What an upgrade that failed does by itself, and when it leaves that to its
// operator.
func TestStays(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	asked := make(chan struct{})
	close(asked)
	failed := pai.Operation{Outcome: pai.OutcomeFailed, Steps: []pai.StepRecord{{Outcome: pai.OutcomeFailed}}}
	interrupted := failed
	interrupted.Jobs.Interrupted = []pai.Interruption{{}}
	for _, c := range []struct {
		name string
		ctx  context.Context
		op   pai.Operation
		o    RunOptions
		stay bool
	}{
		{"a step failed", context.Background(), failed, RunOptions{}, false},
		{"stopped at once", ctx, failed, RunOptions{}, true},
		{"stopped at a safe point", context.Background(), failed, RunOptions{SafeStop: asked}, true},
		{"a job was interrupted", context.Background(), interrupted, RunOptions{}, true},
		{"a step was refused", context.Background(), pai.Operation{Outcome: pai.OutcomeFailed, Steps: []pai.StepRecord{{Outcome: pai.OutcomeRefused}}}, RunOptions{}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if why := reasonNotToRollBack(c.ctx, c.op, c.o, errors.New("no"), nil); (why != "") != c.stay {
				t.Errorf("stays because %q, want staying: %v", why, c.stay)
			}
		})
	}
	held := fmt.Errorf("a step failed: %w", run.ErrNotReleased)
	if why := reasonNotToRollBack(context.Background(), failed, RunOptions{}, held, nil); !strings.Contains(why, "lock") {
		t.Errorf("with its own lock in the way it stays because %q", why)
	}
}

// A loss is accepted by name, every part of it.
func TestStudyAllowed(t *testing.T) {
	s := consequences{accept: map[string]string{guard.AcceptLoss: "writes are lost", guard.AcceptInterrupt: "jobs end"}}
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
				t.Errorf("%v accepted: %v does not say %q", c.accepted, err, m)
			}
		}
	}
	if err := (consequences{}).requireConsent(nil); err != nil {
		t.Error(err)
	}
}
