package operation

import (
	"strings"
	"testing"

	"pai.dev/pai/internal/guard"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/run"
	"pai.dev/pai/test/runtest"
)

// The loss of a machine is accepted by its name, once for all runs of its replacement.
func TestReplacementNeedsConsent(t *testing.T) {
	t.Parallel()
	for name, accepted := range map[string]bool{"first run": false, "continued": true} {
		g := ReplaceControlPlane(testSession(t, runtest.Dir(t.TempDir()), nil), "cp-2", "gpu-1").(*replaceGoal)
		g.earlier.accepted = accepted
		found, err := g.Consequences(t.Context(), nil, plan.Plan{}, plan.World{})
		if err != nil {
			t.Fatal(err)
		}
		err = found.requireConsent([]string{guard.AcceptEvict("cp-2"), guard.AcceptLose("gpu-1")})
		if (err == nil) != accepted || err != nil && !strings.Contains(pai.NextOf(err), "--accept-risk=lose-machine:cp-2") {
			t.Errorf("%s: got %v, %q", name, err, pai.NextOf(err))
		}
		if err := found.requireConsent([]string{guard.AcceptLose("cp-2")}); err != nil || g.left == "" {
			t.Errorf("%s: got %v although it was accepted, left %q", name, err, g.left)
		}
	}
}

// What waits names the command that continues, with both machines. Nothing can cancel it: the
// machine has left the layout.
func TestReplacementContinuesWithBothMachines(t *testing.T) {
	t.Parallel()
	g := ReplaceControlPlane(testSession(t, runtest.Dir(t.TempDir()), nil), "cp-2", "gpu-1")
	command, cancel := continuation(g)
	if command != "paictl machine replace cp-2 --with gpu-1" || cancel != "" {
		t.Errorf("got %q, %q", command, cancel)
	}
	cordon := plan.Plan{Steps: []plan.Step{{Kind: plan.KindCordon, Target: "cp-2"}}}
	if left := g.(cordoning).cordonLeft(cordon, run.Result{Steps: []pai.StepRecord{{Outcome: pai.OutcomeSucceeded}}}); left != "" {
		t.Errorf("an error would name %q", left)
	}
	var e earlierRemoval
	removal := pai.Operation{Verb: pai.VerbRemove, Target: pai.UpgradeTarget{Machine: "cp-2"}, AcceptedRisks: []string{"lose-machine:cp-2"}}
	if e.add(removal, g.Verb(), "cp-2"); e.accepted {
		t.Error("a removal counts as a replacement")
	}
}
