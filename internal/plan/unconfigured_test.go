package plan

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"pai.dev/pai/internal/pai"
)

// An upgrade leaves the kubelets of unconfigured nodes where they are. So either
// every API server that it starts supports them, or it is refused with their names.
func TestUpgradeNeverOutrunsUnconfiguredNodes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		releases := drawReleases(t, 7)
		at, to := rapid.IntRange(0, len(releases)-1).Draw(t, "at"), rapid.IntRange(0, len(releases)-1).Draw(t, "to")
		in := running(releases, releases[at].Metadata.Name, "cp-01", "gpu-01")
		for i := range rapid.IntRange(0, 3).Draw(t, "nodes") {
			in.World.Unconfigured.Nodes = append(in.World.Unconfigured.Nodes, UnconfiguredNode{Name: fmt.Sprintf("other-%02d", i),
				Kubelet: rapid.SampledFrom([]string{"v1.28.3", "v1.30.0", "v1.31.7-eks-1a2b", "v1.33.0", "v1.36.0", "", "v2.0.0", "unknown"}).Draw(t, "kubelet")})
		}
		known := running(releases, releases[at].Metadata.Name, "cp-01", "gpu-01")
		target := Target{Release: releases[to].Metadata.Name, KubernetesOnly: true}
		want, wantErr := Upgrade(known, target)
		got, err := Upgrade(in, target)
		if wantErr != nil {
			if err == nil {
				t.Fatalf("nodes allow what is refused without them: %v", wantErr)
			}
			return
		}
		var outrun []string
		for _, n := range in.World.Unconfigured.Nodes {
			for _, s := range want.Steps {
				if s.Kind == KindAPIServer && !oracleServes(in.minorOf(s.To.Kubernetes()), n.Kubelet) {
					outrun = append(outrun, n.Name)
				}
			}
		}
		switch {
		case len(outrun) == 0 && err != nil:
			t.Fatalf("refused although every API server supports %v: %v", in.World.Unconfigured.Nodes, err)
		case len(outrun) > 0 && err == nil:
			t.Fatalf("the API servers of %v are too new for %v", got.Steps, outrun)
		case err != nil && (pai.CodeOf(err) != pai.CodeRefused || !slices.ContainsFunc(outrun, func(n string) bool { return strings.Contains(err.Error(), n) })):
			t.Fatalf("%v does not name one of %v", err, outrun)
		}
	})
}

func (in Input) minorOf(v pai.KubernetesVersion) int {
	for _, r := range in.Releases {
		if r.Kubernetes.Version == v {
			var minor, patch int
			if _, err := fmt.Sscanf(r.Kubernetes.Upstream, "v1.%d.%d", &minor, &patch); err == nil {
				return minor
			}
		}
	}
	return 1000
}

func oracleServes(apiServer int, kubelet string) bool {
	var minor int
	_, err := fmt.Sscanf(kubelet, "v1.%d.", &minor)
	return err == nil && apiServer-minor <= 3
}

func TestUpgradeNamesUnconfiguredNodes(t *testing.T) {
	in := running(manyReleases(7), "v0.11", "cp-01")
	in.World.Unconfigured.Nodes = []UnconfiguredNode{{Name: "old", Kubelet: "v1.30.2"}, {Name: "young", Kubelet: "v1.34.0"}, {Name: "silent"}}
	_, err := Upgrade(in, Target{Release: "v0.13"}) // over v0.12, which supports old
	wantError(t, err, pai.CodeRefused, `old (kubelet "v1.30.2"), silent (kubelet "")`, "paictl machine remove old")
	if _, err := Upgrade(in, Target{Release: "v0.11"}); err != nil {
		t.Errorf("the API server does not change: %v", err)
	}
}

// Unconfigured services are not what an upgrade starts from, whatever release
// they were applied from, and are stopped by it.
func TestUnconfiguredServiceDoesNotDecideTheRelease(t *testing.T) {
	for _, release := range []pai.ServicesVersion{"", "v0.1", "v0.9", "nonsense"} {
		in := running(twoReleases(), "v0.10", "cp-01")
		stranger := Installed{Release: release, Ready: true}
		in.World.Services["stranger"] = stranger
		in.World.Unconfigured.Services = []UnconfiguredService{{"stranger", stranger}}
		if got := in.World.OldestInstalled(); got != "v0.10" {
			t.Errorf("with a service of release %q, the services are of %q", release, got)
		}
		p, err := Upgrade(in, Target{Release: "v0.10"})
		if err != nil || len(p.Steps) != 1 || p.Steps[0].Kind != KindStop || p.Steps[0].Target != "stranger" || p.Steps[0].Risk != pai.RiskDataPath {
			t.Errorf("with a service of release %q: got %v, %v; want one step that stops it", release, p.Steps, err)
		}
		deleted, err := DeletePlan(in, "stranger", false)
		if err != nil || len(deleted.Steps) != 1 || deleted.Steps[0].Risk != pai.RiskDataPath {
			t.Errorf("delete: got %v, %v", deleted.Steps, err)
		}
		wiped, err := DeletePlan(in, "stranger", true)
		if err != nil || len(wiped.Steps) != 1 || len(wiped.Notes) != 1 || !strings.Contains(wiped.Notes[0], "stranger") {
			t.Errorf("delete with data: got %v, %v, %v; want a note about its files", wiped.Steps, wiped.Notes, err)
		}
		in = withoutServices(in, "kueue", "jobset", "rest-server", "storage", "prometheus", "old-exporter")
		in.World.RecordedServices = ""
		if alone, err := DeletePlan(in, "stranger", false); err != nil || len(alone.Steps) != 1 {
			t.Errorf("delete the only service: got %v, %v", alone.Steps, err)
		}
	}
}

// No step touches the jobs on an unconfigured node, but a clean with --delete-data
// removes their cluster.
func TestCleanKeepsTheClusterOfJobsOutsideTheLayout(t *testing.T) {
	in := running(twoReleases(), "v0.10", "cp-01")
	in.World.Unconfigured.Nodes = []UnconfiguredNode{{Name: "gpu-09", Kubelet: "v1.36.3"}}
	on := func(machine string) pai.Job {
		container := pai.Container{State: pai.ContainerRunning}
		return pai.Job{JobRef: pai.JobRef{User: "ann", Name: "train"}, Pods: []pai.Pod{{Machine: machine, Phase: "Running", Containers: []pai.Container{container}}}}
	}
	in.World.Jobs = []pai.Job{on("cp-01")}
	if _, err := CleanPlan(in.World, true); err != nil {
		t.Errorf("the guard asks about jobs on machines of the layout, but got %v", err)
	}
	in.World.Jobs = append(in.World.Jobs, on("gpu-09"))
	_, err := CleanPlan(in.World, true)
	wantError(t, err, pai.CodeRefused, "ann~train on gpu-09", "paictl job list")
	if _, err := CleanPlan(in.World, false); err != nil {
		t.Errorf("a clean keeps the data of the cluster, but got %v", err)
	}
}

// Without the API server, the jobs on a machine outside the layout are unknown. The machine is
// in /etc/hosts, and its cluster stays until an operator says that no job runs there.
func TestCleanKeepsTheClusterOfUnknownJobsOutsideTheLayout(t *testing.T) {
	in := duringOutage(running(twoReleases(), "v0.10", "cp-01"))
	in.World.Unconfigured = Unconfigured{Machines: []UnconfiguredMachine{{Name: "gpu-09", Address: "10.0.0.9"}}}
	_, err := CleanPlan(in.World, true)
	wantError(t, err, pai.CodeRefused, "gpu-09 (10.0.0.9)", "# pai")
	if _, err := CleanPlan(in.World, false); err != nil {
		t.Errorf("a clean keeps the data of the cluster, but got %v", err)
	}
	in.World.Unconfigured = Unconfigured{MachinesError: "permission denied"}
	_, err = CleanPlan(in.World, true)
	wantError(t, err, pai.CodeRefused, "their names are unknown (permission denied)", "layout.yaml")
	in.World.Unconfigured = Unconfigured{Machines: []UnconfiguredMachine{}}
	if _, err := CleanPlan(in.World, true); err != nil {
		t.Errorf("a cluster whose machines are all in the layout: got %v", err)
	}
	in.World.Unconfigured.Machines, in.World.Current = nil, pai.Pair{}
	if _, err := CleanPlan(in.World, true); err != nil {
		t.Errorf("no cluster was booted: got %v", err)
	}
}
