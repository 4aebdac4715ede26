package cluster

import (
	"os"
	"slices"
	"strings"
	"testing"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// On a machine whose control plane served in the other slots, or as another version, the
// restored etcd starts as on a fresh machine.
func TestRecoverOnAMachineThatServed(t *testing.T) {
	t.Parallel()
	h := newDying(t, 0)
	for _, s := range layout.Slots() {
		h.Link(layout.RoleLink(s.Etcd), "../v0.9-pai")
		h.Link(layout.RoleLink(s.APIServer), "../v0.9-pai")
	}
	h.Write(layout.SlotB.EtcdEnv(), membership(stateExisting, "pai-1-b=https://10.9.0.11:2390"))
	c, m := recovering(t), testConfig().ControlPlane()
	if err := c.recover(t.Context(), h, m, plan.Step{Kind: plan.KindRecover, To: pai.AnyVersion(recoveredVersion)}); err != nil {
		t.Fatal(err)
	}
	for _, s := range layout.Slots() {
		for _, name := range []string{layout.RoleLink(s.Etcd), layout.RoleLink(s.APIServer), s.EtcdEnv()} {
			if _, err := os.Lstat(h.At(name)); !os.IsNotExist(err) {
				t.Errorf("%s is left: %v", name, err)
			}
		}
		for _, r := range []plan.Role{s.Etcd, s.APIServer} {
			if !h.Ran("disable -q pai-$u.service") || !slices.ContainsFunc(h.Scripts, func(script string) bool { return strings.Contains(script, string(r)+" ") }) {
				t.Errorf("%s was not disabled", r)
			}
		}
	}
}

// After users have worked with restored data, a restore that continues does not put the
// backup in place again when the disk of etcd is missing, and changes nothing.
func TestRecoverDoesNotReplaceDataThatServed(t *testing.T) {
	t.Parallel()
	step := plan.Step{Kind: plan.KindRecover, To: pai.AnyVersion(recoveredVersion)}
	for _, stage := range []RecoveryStage{RecoveryReconciled, RecoveryTokens, RecoveryOpening, RecoveryDone} {
		h := newDying(t, 0)
		c, m := recovering(t), testConfig().ControlPlane()
		if err := c.recover(t.Context(), h, m, step); err != nil {
			t.Fatal(err)
		}
		if err := c.setStage(t.Context(), h, stage); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(h.At(layout.EtcdDir)); err != nil {
			t.Fatal(err)
		}
		before := h.tree(t)
		if err := c.recover(t.Context(), h, m, step); err == nil || !strings.Contains(err.Error(), "its data are not in") {
			t.Errorf("%s: got %v, want an error", stage, err)
		}
		for name, data := range h.tree(t) {
			if before[name] != data {
				t.Errorf("%s: %s was changed", stage, name)
			}
			delete(before, name)
		}
		if len(before) > 0 {
			t.Errorf("%s: removed %v", stage, before)
		}
	}
}
