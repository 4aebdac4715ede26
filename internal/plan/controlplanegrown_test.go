package plan

import (
	"strings"
	"testing"

	"pai.dev/pai/internal/pai"
)

// A cluster of a version that knows one control-plane machine cannot grow before its upgrade.
func TestGrowthOfAnOldClusterComesAfterItsUpgrade(t *testing.T) {
	t.Parallel()
	for current, want := range map[pai.KubernetesVersion]string{
		"v0.10-pai": "set k8s-role: master for one machine",
		"v0.11-pai": "set kubernetes.version to v0.11-pai",
	} {
		w := World{Current: pai.Pair{Kubernetes: current}, Machines: []MachineState{
			{Name: "cp-1", ControlPlane: true, Member: MemberVoter}, {Name: "cp-2", ControlPlane: true}, {Name: "cp-3", ControlPlane: true}}}
		err := w.checkGrown("v0.12-pai")
		if pai.CodeOf(err) != pai.CodeRefused || !strings.Contains(pai.NextOf(err), want) {
			t.Errorf("%s: got %v with the advice %q, want %q", current, err, pai.NextOf(err), want)
		}
	}
}
