package plan

import (
	"slices"
	"strings"
	"testing"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/release"
)

// gpuReleases has a second release with the agent for GPUs, and a third with another one.
func gpuReleases() []release.Manifest {
	rows := twoReleases()
	eleven := programs(row("v0.11", "v0.10", "v0.11-pai", "v1.37.2", "v0.10-pai", "v0.10-pai"),
		"containerd", "v2.2.3", "runc", "v1.4.3", "cni", "v1.9.1", "api-proxy", "v1", "network", "v1", "etcd", "v3.6.16", "gpu", "v1")
	return append(rows, eleven)
}

// withGPUs says that some machines have GPUs.
func withGPUs(in Input, names ...string) Input {
	for i := range in.World.Machines {
		in.World.Machines[i].Kind.GPUs = 0
		if slices.Contains(names, in.World.Machines[i].Name) {
			in.World.Machines[i].Kind.GPUs = 8
		}
	}
	return in
}

// gpuSteps are the steps about the agent for GPUs, as "kind machine".
func gpuSteps(p Plan) []string {
	found := []string{}
	for _, s := range p.Steps {
		if s.Role == RoleGPU {
			found = append(found, string(s.Kind)+" "+s.Target)
		}
	}
	return found
}

func TestAgentForGPUsIsOptional(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(in *Input)
		to     pai.KubernetesVersion
		want   []string
		note   string
	}{
		"no GPUs":                   {func(*Input) {}, "v0.11-pai", []string{}, ""},
		"a version without it":      {func(in *Input) { *in = withGPUs(*in, "gpu-01") }, "v0.10-pai", []string{}, ""},
		"one machine":               {func(in *Input) { *in = withGPUs(*in, "gpu-01") }, "v0.11-pai", []string{"machine-role gpu-01"}, ""},
		"the control plane as well": {func(in *Input) { *in = withGPUs(*in, "cp-01", "gpu-01") }, "v0.11-pai", []string{"machine-role cp-01", "machine-role gpu-01"}, ""},
		"the operator's plugin": {func(in *Input) {
			*in = withGPUs(*in, "gpu-01", "gpu-02")
			in.World.Machines[1].DevicePlugin = "/plugin.sock"
		}, "v0.11-pai", []string{"machine-role gpu-02"}, "gpu-01 already has a device plugin for GPUs (/plugin.sock)"},
	} {
		in := running(gpuReleases(), "v0.10", "cp-01", "gpu-01", "gpu-02")
		c.change(&in)
		p, err := Boot(in, pai.Pair{Kubernetes: c.to})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := gpuSteps(p); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
		if notes := strings.Join(p.Notes, "\n"); (c.note == "") != (notes == "") || !strings.Contains(notes, c.note) {
			t.Errorf("%s: got notes %q, want %q", name, notes, c.note)
		}
		for _, s := range p.Steps {
			if s.Role == RoleGPU && (s.Risk != pai.RiskNone || !strings.HasSuffix(string(s.After[0]), s.Target+"/kubelet")) {
				t.Errorf("%s: step %s has risk %s and waits for %s, want that it is harmless and follows the kubelet", name, s.ID, s.Risk, s.After)
			}
		}
	}
}

func TestAgentForGPUsFollowsTheConfigurationAndTheVersion(t *testing.T) {
	t.Parallel()
	in := withGPUs(running(gpuReleases(), "v0.10", "cp-01", "gpu-01"), "gpu-01")
	boot, err := Boot(in, pai.Pair{Kubernetes: "v0.11-pai"})
	if err != nil {
		t.Fatal(err)
	}
	in.World = in.After(in.World, boot.Steps)
	if again, err := Boot(in, pai.Pair{Kubernetes: "v0.11-pai"}); err != nil || len(gpuSteps(again)) != 0 {
		t.Errorf("got %v, error %v; want nothing to do when the agent runs", again.Steps, err)
	}
	other := in
	other.World = in.World.clone()
	other.World.Machines[1].DevicePlugin = "/plugin.sock" // started beside the agent
	if again, err := Boot(other, pai.Pair{Kubernetes: "v0.11-pai"}); err != nil || len(gpuSteps(again)) != 0 || len(again.Notes) != 0 {
		t.Errorf("got %v and %q, error %v; want that the agent stays", again.Steps, again.Notes, err)
	}
	without := withGPUs(other)
	p, err := Boot(without, pai.Pair{Kubernetes: "v0.11-pai"})
	if err != nil {
		t.Fatal(err)
	}
	if got := gpuSteps(p); !slices.Equal(got, []string{"machine-role-remove gpu-01"}) {
		t.Errorf("got %q without GPUs in the configuration, want that the agent is removed", got)
	}
	without.World = without.After(without.World, p.Steps)
	if again, err := Boot(without, pai.Pair{Kubernetes: "v0.11-pai"}); err != nil || len(gpuSteps(again)) != 0 {
		t.Errorf("got %v, error %v; want nothing to do when the agent is removed", again.Steps, err)
	}
}

// The older version has no agent: it goes after the older kubelet is there, which asks for
// the GPUs of running containers when it starts.
func TestRollbackRemovesTheAgentForGPUs(t *testing.T) {
	t.Parallel()
	in := withGPUs(running(gpuReleases(), "v0.10", "cp-01", "gpu-01"), "gpu-01")
	boot, err := Boot(in, pai.Pair{Kubernetes: "v0.11-pai"})
	if err != nil {
		t.Fatal(err)
	}
	in.World = in.After(in.World, boot.Steps)
	in.Snapshots = []string{"v0.10-pai-to-v0.11-pai.db", "v0.10-pai-to-v0.11-pai-commit.db"}
	p, err := Rollback(in, pai.Pair{Services: "v0.10", Kubernetes: "v0.10-pai"}, Target{})
	if err != nil {
		t.Fatal(err)
	}
	if got := gpuSteps(p); !slices.Equal(got, []string{"machine-role-remove gpu-01"}) {
		t.Fatalf("got %q, want that the agent is removed", got)
	}
	i := slices.IndexFunc(p.Steps, func(s Step) bool { return s.Role == RoleGPU })
	if s := p.Steps[i]; !slices.ContainsFunc(s.After, func(id StepID) bool { return strings.HasSuffix(string(id), "/gpu-01/kubelet") }) {
		t.Errorf("the removal waits for %s, want it to wait for the kubelet", s.After)
	}
	world := in.After(in.World, p.Steps)
	if state := world.Machines[1].Roles[RoleGPU]; state != (RoleState{}) {
		t.Errorf("the agent is left as %+v", state)
	}
}
