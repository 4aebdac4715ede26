package cli

import (
	"bytes"
	"strings"
	"testing"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/upgrade"
)

// What nobody could see is not said to be absent.
func TestStatusWhileTheAPIIsAway(t *testing.T) {
	t.Parallel()
	w := plan.World{ClusterID: "lab", APIError: "connection refused", Current: pai.Pair{Kubernetes: "v0.9-pai"},
		Machines: []plan.Machine{{Name: "gpu-01"}, {Name: "gpu-02", Unreachable: "no route to host"}}}
	var cluster, upgrades bytes.Buffer
	if err := writeStatus(&cluster, clusterStatus{World: w}); err != nil {
		t.Fatal(err)
	}
	if err := writeUpgradeStatus(&upgrades, upgrade.Status{Current: w.Current, APIError: w.APIError}); err != nil {
		t.Fatal(err)
	}
	for command, said := range map[string]string{"cluster status": cluster.String(), "upgrade status": upgrades.String()} {
		if strings.Contains(said, "no services") || strings.Contains(said, "no node") || !strings.Contains(said, "Kubernetes v0.9-pai; which services is not known") {
			t.Errorf("%s says:\n%s", command, said)
		}
	}
	if said := cluster.String(); !strings.Contains(said, "not known\n") || !strings.Contains(said, "unreachable: no route to host") {
		t.Errorf("cluster status says:\n%s", said)
	}
	w.APIReachable, w.APIError = true, ""
	cluster.Reset()
	if err := writeStatus(&cluster, clusterStatus{World: w}); err != nil || !strings.Contains(cluster.String(), "no services") || !strings.Contains(cluster.String(), "no node") {
		t.Errorf("with the API there, error %v:\n%s", err, cluster.String())
	}
}
