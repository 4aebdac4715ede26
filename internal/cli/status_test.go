package cli

import (
	"strings"
	"testing"

	"pai.dev/pai/internal/cli/ui"
	"pai.dev/pai/internal/operation"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// What was not observed is unknown, and never reported as absent.
func TestStatusWithoutAPIReportsUnknown(t *testing.T) {
	t.Parallel()
	w := plan.World{ClusterID: "lab", APIError: "connection refused", Current: pai.Pair{Kubernetes: "v0.9-pai"},
		Machines: []plan.MachineState{{Name: "gpu-01"}, {Name: "gpu-02", Unreachable: "no route to host"}}}
	text := func(write func(*ui.Page)) string {
		t.Helper()
		var b strings.Builder
		if err := ui.Text(&b, write); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	cluster := text(func(p *ui.Page) { writeStatus(p, clusterStatus{World: w}) })
	upgrades := text(func(p *ui.Page) { writeUpgradeStatus(p, operation.Status{Current: w.Current, APIError: w.APIError}) })
	for command, got := range map[string]string{"cluster status": cluster, "upgrade status": upgrades} {
		if strings.Contains(got, "no services") || strings.Contains(got, "no node") || !strings.Contains(got, "Kubernetes v0.9-pai; services: unknown") {
			t.Errorf("%s prints:\n%s", command, got)
		}
	}
	if !strings.Contains(cluster, "unknown\n") || !strings.Contains(cluster, "unreachable: no route to host") {
		t.Errorf("cluster status prints:\n%s", cluster)
	}
	w.APIReachable, w.APIError = true, ""
	cluster = text(func(p *ui.Page) { writeStatus(p, clusterStatus{World: w}) })
	if !strings.Contains(cluster, "no services") || !strings.Contains(cluster, "no node") {
		t.Errorf("with a reachable API, cluster status prints:\n%s", cluster)
	}
}
