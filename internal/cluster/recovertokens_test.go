package cluster

import (
	"context"
	"errors"
	"testing"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/plan"
)

// A restore ends the tokens of the backup once: which of them were revoked since is
// unknown. Tokens that were made after that stay, also if the restore continues.
func TestTokensOfABackupEnd(t *testing.T) {
	t.Parallel()
	h := gatedHost(map[string]string{})
	ended, failure := 0, errors.New("no connection")
	c := &cluster{Deps: Deps{
		Kube:     func(context.Context) (*kube.Client, error) { return nil, nil },
		Progress: func(string, ...any) {},
		Recovery: &RecoveryTask{Backup: "b", EndTokens: func(context.Context, *kube.Client) (int, error) {
			ended++
			return 3, failure
		}},
	}}
	done := func() bool {
		t.Helper()
		is, err := c.tokensDone(t.Context(), h, config.Machine{}, plan.Step{})
		if err != nil {
			t.Fatal(err)
		}
		return is
	}
	for _, stage := range []RecoveryStage{RecoveryStarted, RecoveryData, RecoveryReconciled} {
		if err := c.setStage(t.Context(), h, stage); err != nil {
			t.Fatal(err)
		}
		if done() {
			t.Errorf("%s: the tokens count as ended", stage)
		}
	}
	if err := c.tokens(t.Context(), h, config.Machine{}, plan.Step{}); err == nil || done() {
		t.Errorf("got %v, done %t, although the tokens are valid", err, done())
	}
	failure = nil
	if err := c.tokens(t.Context(), h, config.Machine{}, plan.Step{}); err != nil || !done() || ended != 2 {
		t.Errorf("got %v, done %t, %d calls", err, done(), ended)
	}
	if compared, err := c.reconcileDone(t.Context(), h, config.Machine{}, plan.Step{}); err != nil || !compared {
		t.Errorf("the jobs would be compared again: %v", err)
	}

	if err := c.setStage(t.Context(), h, RecoveryReconciled); err != nil {
		t.Fatal(err)
	}
	c.Recovery.EndTokens = nil // the operator keeps them
	if err := c.tokens(t.Context(), h, config.Machine{}, plan.Step{}); err != nil || !done() {
		t.Errorf("kept: got %v, done %t", err, done())
	}
}
