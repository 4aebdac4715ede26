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
	if strings.Contains(cluster, "portal") {
		t.Errorf("without a portal, cluster status prints:\n%s", cluster)
	}
	portal := text(func(p *ui.Page) {
		writeStatus(p, clusterStatus{World: w, Portal: []string{"https://10.0.0.1:9286", "https://10.0.0.2:9286"}})
	})
	if !strings.Contains(portal, "portal: https://10.0.0.1:9286\n") || strings.Contains(portal, "10.0.0.2") {
		t.Errorf("with a portal, cluster status prints:\n%s", portal)
	}
	if !strings.Contains(cluster, "no services") || !strings.Contains(cluster, "no node") {
		t.Errorf("with a reachable API, cluster status prints:\n%s", cluster)
	}
}

// Without the control-plane machine, it is unknown whether there is a cluster.
func TestStatusWithoutControlPlaneReportsUnknown(t *testing.T) {
	t.Parallel()
	w := plan.World{APIError: "the control-plane machine was not observed: no connection", Machines: []plan.MachineState{{Name: "gpu-01", ControlPlane: true, Unreachable: "no connection"}, {Name: "gpu-02"}}}
	var b strings.Builder
	if err := ui.Text(&b, func(p *ui.Page) { writeStatus(p, clusterStatus{World: w}) }); err != nil {
		t.Fatal(err)
	}
	got := b.String()
	if strings.Contains(got, "no Kubernetes") || strings.Contains(got, "no node") || !strings.Contains(got, "cluster -: unknown\n") ||
		!strings.Contains(got, "services and jobs: unknown; the control-plane machine was not observed: no connection\n") || !strings.Contains(got, "not in the configuration, unknown: nodes") {
		t.Errorf("got:\n%s", got)
	}
}

// What is not in the configuration has a row each, and what of it is unknown a reason.
func TestStatusShowsUnconfigured(t *testing.T) {
	t.Parallel()
	w := plan.World{APIReachable: true, Current: pai.Pair{Kubernetes: "v0.9-pai"}}
	w.Unconfigured = plan.Unconfigured{
		Nodes:       []plan.UnconfiguredNode{{Name: "gpu-09", Address: "10.0.0.9", Kubelet: "v1.35.4", Ready: true}},
		Machines:    []plan.UnconfiguredMachine{{Name: "gpu-08", Address: "10.0.0.8"}},
		EtcdMembers: []plan.UnconfiguredMember{{ID: "8e9e05c52164694d", PeerURLs: []string{"https://10.0.0.9:2380"}}},
		Services:    []plan.UnconfiguredService{{Name: "stranger", Installed: plan.Installed{Release: "v0.9", Ready: true}}},
		Maintained:  []string{"gpu-07"},
	}
	text := func() string {
		t.Helper()
		var b strings.Builder
		if err := ui.Text(&b, func(p *ui.Page) { writeUnconfigured(p, w) }); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	got := text()
	for _, want := range []string{
		"node          gpu-09     10.0.0.9, kubelet v1.35.4, ready",
		"machine       gpu-08     10.0.0.8, in /etc/hosts",
		"maintenance   gpu-07     recorded on the control-plane machine",
		"etcd member   -          https://10.0.0.9:2380, ID 8e9e05c52164694d, voter, not started",
		"service       stranger   release v0.9, ready",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("got:\n%s\nwant a line with %q", got, want)
		}
	}
	if strings.Contains(got, "unknown") {
		t.Errorf("nothing is unknown, but got:\n%s", got)
	}
	w.Unconfigured = plan.Unconfigured{EtcdError: "no quorum", Machines: []plan.UnconfiguredMachine{}}
	w.APIError = "connection refused"
	if got, want := strings.TrimSpace(text()), "not in the configuration, unknown: nodes (connection refused); etcd members (no quorum); services (connection refused)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	w.Unconfigured = plan.Unconfigured{Nodes: []plan.UnconfiguredNode{}, Machines: []plan.UnconfiguredMachine{}, EtcdMembers: []plan.UnconfiguredMember{}, Services: []plan.UnconfiguredService{}}
	if got := text(); got != "" {
		t.Errorf("all is configured, but got:\n%s", got)
	}
}
