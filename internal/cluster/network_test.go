package cluster

import (
	"os"
	"strings"
	"testing"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/test/inspecttest"
)

// An older network program never changes the rules of a newer one, so they go before it
// starts, and only then.
func TestRulesOfTasksGoWithARollback(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		from pai.AnyVersion
		want bool
	}{
		"rollback": {"v99.0-pai", true}, "upgrade": {"v0.1-pai", false}, "same version": {pai.AnyVersion(comparedVersion), false}, "boot": {"", false},
	} {
		cluster := scripted(t)
		h := cluster.hosts["pai-2"]
		h.Units[layout.Unit(plan.RoleNetwork)] = inspecttest.Unit{State: "inactive"}
		if err := os.Remove(h.At(layout.RoleLink(plan.RoleNetwork))); err != nil {
			t.Fatal(err)
		}
		doStep(t, cluster.deps, plan.Step{Kind: plan.KindRole, Role: plan.RoleNetwork, Target: "pai-2", From: c.from, To: pai.AnyVersion(comparedVersion)})
		removed := h.Ran("inet pai-tasks\" \"bridge pai-tasks\" \"inet pai-connections\"; do nft delete table")
		stopped := h.Ran("systemctl stop " + layout.Unit(plan.RoleNetwork))
		if removed != c.want || stopped != c.want {
			t.Errorf("%s: got stopped %v, removed %v, want %v", name, stopped, removed, c.want)
		}
	}
}

// Every table of the network program goes with Kubernetes.
func TestCleanRemovesTheTablesOfTasks(t *testing.T) {
	t.Parallel()
	script, err := os.ReadFile("scripts/clean.sh")
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"inet pai-tasks", "bridge pai-tasks", "inet pai-connections", "ip pai-anchor"} {
		if !strings.Contains(string(script), `"`+table+`"`) {
			t.Errorf("table %s stays", table)
		}
	}
}
