//go:build e2e

package e2e

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pai.dev/pai/test/chaos"
)

// chaosCluster is an operator's cluster, for faults to be put into.
func (o *operator) chaosCluster() *chaos.Cluster {
	return &chaos.Cluster{Paictl: paictl, Source: repository(), State: o.state, Job: filepath.Join(repository(), "examples/train.yaml"), Log: os.Stderr}
}

// upgradeKilledAtEveryStep kills one upgrade at the end of every step, and
// injects other faults within some. The same command, given again, must end in
// the state of an undisturbed upgrade, which it makes itself where undisturbed
// is nil, and the job must not have noticed. make chaos has more faults.
func upgradeKilledAtEveryStep(t *testing.T, undisturbed chaos.State) {
	o := newOperator(t, "upgrade") // the state directory, and so the network, of the undisturbed one
	o.buildBundle(chaos.From, chaos.To)
	ctx, cancel := context.WithTimeout(context.Background(), 25*time.Minute)
	defer cancel()
	c := o.chaosCluster()
	if undisturbed == nil {
		calm, err := c.Round(ctx, chaos.Fault{Name: "none"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		undisturbed = calm.End
	}
	fault, err := chaos.Find("mixed", 1)
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.Round(ctx, fault, undisturbed)
	if err != nil {
		t.Fatal(err)
	}
	if r.Attempts < 18 {
		t.Errorf("an upgrade that was killed at the end of every step needed only %d commands", r.Attempts)
	}
	for _, i := range r.Interrupted {
		t.Errorf("interrupted: %s", i)
	}
	for _, p := range r.Problems {
		t.Errorf("problem: %s", p)
	}
	for _, d := range r.Different {
		t.Errorf("not as an undisturbed upgrade leaves it: %s", d)
	}
}
