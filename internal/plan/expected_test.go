package plan

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/pai"
)

// expecting adds to an input what its releases make of each machine, and observes
// exactly that. The digest of a program is its pin.
func expecting(in Input) Input {
	pins := PinsOf(in.Releases)
	in.Expected = map[string]Expected{}
	for i := range in.World.Machines {
		m := &in.World.Machines[i]
		e := Expected{Prepared: "prepared", Versions: map[pai.KubernetesVersion]ExpectedVersion{}}
		for _, r := range in.Releases {
			v := r.Kubernetes.Version
			roles := map[Role]Digests{}
			for _, role := range layout.Roles() {
				var programs []string
				for _, p := range programsOf(role) {
					programs = append(programs, p+" "+pins[v][p])
				}
				roles[role] = Digests{Programs: strings.Join(programs, ", "), Settings: "settings of " + string(role)}
			}
			e.Versions[v] = ExpectedVersion{Programs: "aaaaaaaaaaaaaaaa" + string(v), Roles: roles}
		}
		in.Expected[m.Name] = e
		m.PreparedAs, m.ProgramDigests = e.Prepared, map[pai.KubernetesVersion]string{}
		for _, v := range m.Programs {
			m.ProgramDigests[v] = e.of(v).Programs
		}
		m.Roles = maps.Clone(m.Roles)
		for role, s := range m.Roles {
			if s.Running != "" {
				s.Digests = e.of(s.Running).Roles[role]
				m.Roles[role] = s
			}
		}
	}
	return in
}

// rebuild changes what the releases of a version make of the machines.
func rebuild(in *Input, v pai.KubernetesVersion, change func(machine string, e *ExpectedVersion)) {
	for name, e := range in.Expected {
		ev := e.Versions[v]
		ev.Roles = maps.Clone(ev.Roles)
		change(name, &ev)
		e.Versions = maps.Clone(e.Versions)
		e.Versions[v] = ev
		in.Expected[name] = e
	}
}

func patchPrograms(roles ...Role) func(string, *ExpectedVersion) {
	return func(_ string, e *ExpectedVersion) {
		e.Programs = "bbbbbbbbbbbbbbbb"
		for _, r := range roles {
			e.Roles[r] = Digests{Programs: "patched " + string(r), Settings: e.Roles[r].Settings}
		}
	}
}

func changeSettings(roles ...Role) func(string, *ExpectedVersion) {
	return func(_ string, e *ExpectedVersion) {
		for _, r := range roles {
			e.Roles[r] = Digests{Programs: e.Roles[r].Programs, Settings: "changed"}
		}
	}
}

// own lists the steps of a plan by their short IDs with the version they lead to,
// without those that a boot always plans and then finds done.
func own(steps []Step) []string {
	var ids []string
	for _, s := range steps {
		id := strings.TrimPrefix(string(s.ID), "kubernetes/v0.10-pai/")
		if !slices.Contains([]string{"cluster/bootstrap", "cluster/dns", "cluster/record"}, id) {
			ids = append(ids, id+" "+strings.TrimPrefix(string(s.To), "v0.10")+" "+strings.Join(s.Differs, ","))
		}
	}
	slices.Sort(ids)
	return ids
}

func TestWhatDiffersIsPlanned(t *testing.T) {
	const to = pai.KubernetesVersion("v0.10-pai")
	tests := []struct {
		name   string
		change func(in *Input)
		want   []string
	}{
		{"nothing", func(*Input) {}, nil},
		{"a flag of the API server", func(in *Input) { rebuild(in, to, changeSettings(RoleAPIServerA, RoleAPIServerB)) },
			[]string{"cluster/apiserver -pai settings"}},
		{"a flag of etcd", func(in *Input) { rebuild(in, to, changeSettings(RoleEtcdA, RoleEtcdB)) },
			[]string{"cluster/etcd -pai settings"}},
		{"the unit of the scheduler", func(in *Input) { rebuild(in, to, changeSettings(RoleScheduler)) },
			[]string{"machine/head-01/scheduler -pai settings"}},
		{"a file of the kubelets", func(in *Input) { rebuild(in, to, changeSettings(RoleKubelet)) },
			[]string{"machine/gpu-01/kubelet -pai settings", "machine/gpu-01/uncordon -pai ", "machine/head-01/kubelet -pai settings", "machine/head-01/uncordon -pai "}},
		{"a patched runc", func(in *Input) { rebuild(in, to, patchPrograms(RoleRuntime)) }, []string{
			"machine/gpu-01/containerd -pai+bbbbbbbbbbbb programs", "machine/gpu-01/programs -pai+bbbbbbbbbbbb ", "machine/gpu-01/uncordon -pai+bbbbbbbbbbbb ",
			"machine/head-01/containerd -pai+bbbbbbbbbbbb programs", "machine/head-01/programs -pai+bbbbbbbbbbbb ", "machine/head-01/uncordon -pai+bbbbbbbbbbbb "}},
		{"a patched network program", func(in *Input) { rebuild(in, to, patchPrograms(RoleNetwork)) }, []string{
			"machine/gpu-01/network -pai+bbbbbbbbbbbb programs", "machine/gpu-01/programs -pai+bbbbbbbbbbbb ",
			"machine/head-01/network -pai+bbbbbbbbbbbb programs", "machine/head-01/programs -pai+bbbbbbbbbbbb "}},
		{"a patched API proxy", func(in *Input) { rebuild(in, to, patchPrograms(RoleAPIProxy)) }, []string{
			"machine/gpu-01/api-proxy -pai+bbbbbbbbbbbb programs", "machine/gpu-01/programs -pai+bbbbbbbbbbbb ",
			"machine/head-01/api-proxy -pai+bbbbbbbbbbbb programs", "machine/head-01/programs -pai+bbbbbbbbbbbb "}},
		{"another way to prepare machines", func(in *Input) {
			for name, e := range in.Expected {
				e.Prepared = "otherwise"
				in.Expected[name] = e
			}
		}, []string{"machine/gpu-01/prepare -pai files", "machine/head-01/prepare -pai files"}},
		{"a digest of a running program that cannot be read", func(in *Input) {
			s := in.World.Machines[1].Roles[RoleKubeProxy]
			s.Programs = ""
			in.World.Machines[1].Roles[RoleKubeProxy] = s
		}, []string{"machine/gpu-01/kube-proxy -pai programs"}},
		{"a digest of a program on the disk that cannot be read", func(in *Input) { delete(in.World.Machines[1].ProgramDigests, to) },
			[]string{"machine/gpu-01/programs -pai+aaaaaaaaaaaa "}},
		{"no bundle on this host", func(in *Input) {
			rebuild(in, to, func(_ string, e *ExpectedVersion) { *e = ExpectedVersion{} })
		}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := expecting(running(twoReleases(), "v0.10", "head-01", "gpu-01"))
			tt.change(&in)
			boot, err := Boot(in, in.World.Current)
			if err != nil {
				t.Fatal(err)
			}
			upgrade, err := Upgrade(in, Target{Release: "v0.10"})
			if err != nil {
				t.Fatal(err)
			}
			for verb, p := range map[string]Plan{"boot": boot, "upgrade": upgrade} {
				if got := own(p.Steps); !slices.Equal(got, tt.want) {
					t.Errorf("%s plans\n%s\nwant\n%s", verb, strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
				}
				after := in
				after.World = in.After(in.World, p.Steps)
				again, err := Upgrade(after, Target{Release: "v0.10"})
				if err != nil || len(own(again.Steps)) > 0 {
					t.Errorf("after the %s, %v is planned: %v", verb, own(again.Steps), err)
				}
			}
		})
	}
}

// A role that a hop leaves alone because its programs have the same names moves
// if their content or its settings differ.
func TestAHopMovesWhatDiffers(t *testing.T) {
	roleSteps := func(in Input) []string {
		p, err := Upgrade(in, Target{Release: "v0.10", KubernetesOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		var found []string
		for _, s := range p.Steps {
			if s.Target == "gpu-01" && slices.Contains([]Role{RoleRuntime, RoleNetwork, RoleAPIProxy}, s.Role) {
				found = append(found, string(s.Role))
			}
		}
		return found
	}
	in := expecting(running(twoReleases(), "v0.9", "head-01", "gpu-01"))
	in.World.Current.Services = "v0.10"
	if got := roleSteps(in); len(got) > 0 {
		t.Errorf("the hop moves %v, whose programs and settings stay", got)
	}
	rebuild(&in, "v0.10-pai", changeSettings(RoleNetwork))
	rebuild(&in, "v0.10-pai", patchPrograms(RoleRuntime))
	if got := roleSteps(in); !slices.Equal(got, []string{"containerd", "network"}) {
		t.Errorf("the hop moves %v, want containerd and network", got)
	}
}

// Whatever differs, wherever a run is killed: the next plan leads to a state in
// which nothing differs, and a plan names no role that did not differ.
func TestEveryDifferenceIsRemoved(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := expecting(running(twoReleases(), "v0.10", "head-01", "gpu-01", "gpu-02"))
		touched := map[Role]bool{}
		for range rapid.IntRange(1, 4).Draw(t, "rebuilds") {
			r := rapid.SampledFrom(layout.Roles()).Draw(t, "role")
			change := rapid.SampledFrom([]func(...Role) func(string, *ExpectedVersion){patchPrograms, changeSettings}).Draw(t, "change")
			rebuild(&in, "v0.10-pai", change(r))
			touched[r] = true
		}
		for range 4 {
			p, err := Upgrade(in, Target{Release: "v0.10"})
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range p.Steps {
				if s.Role != "" && !touched[s.Role] {
					t.Fatalf("step %s moves a role that does not differ", s.ID)
				}
			}
			if len(p.Steps) == 0 {
				break
			}
			in.World = in.After(in.World, p.Steps[:rapid.IntRange(0, len(p.Steps)).Draw(t, "killed after")])
		}
		p, err := Upgrade(in, Target{Release: "v0.10"})
		if err != nil {
			t.Fatal(err)
		}
		in.World = in.After(in.World, p.Steps)
		for _, m := range in.World.Machines {
			for r, s := range m.Roles {
				if want := in.Expected[m.Name].of("v0.10-pai").Roles[r]; s.Running != "" && s.Digests != want {
					t.Fatalf("%s of %s has %+v, want %+v", r, m.Name, s.Digests, want)
				}
			}
		}
	})
}

// A role that is newer than the version, after a hop that was stopped, stays.
func TestANewerRoleStays(t *testing.T) {
	in := expecting(running(twoReleases(), "v0.10", "head-01", "gpu-01"))
	in.World.Current.Kubernetes = "v0.9-pai"
	rebuild(&in, "v0.9-pai", changeSettings(layout.Roles()...))
	rebuild(&in, "v0.9-pai", patchPrograms(layout.Roles()...))
	p, err := Boot(in, pai.Pair{Services: "v0.9", Kubernetes: "v0.9-pai"})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range p.Steps {
		if s.Role != "" || s.Kind == KindKubelet || s.Kind == KindEtcd || s.Kind == KindAPIServer {
			t.Errorf("step %s moves a newer role", s.ID)
		}
	}
}

func TestTheClustersOwnObjectsAreCompared(t *testing.T) {
	const v = pai.KubernetesVersion("v0.10-pai")
	for _, tt := range []struct {
		name   string
		change func(in *Input)
		want   []StepID
	}{
		{"the same", func(*Input) {}, nil},
		{"other objects of CoreDNS", func(in *Input) { in.World.Manifests.DNS = "old" }, []StepID{"kubernetes/v0.10-pai/cluster/dns"}},
		{"no digest, as an older PAI applied them", func(in *Input) { in.World.Manifests.Bootstrap = "" }, []StepID{"kubernetes/v0.10-pai/cluster/bootstrap"}},
		{"unknown on this host", func(in *Input) { in.Manifests = nil }, nil},
		{"an API outage", func(in *Input) {
			in.World.APIReachable, in.World.Manifests = false, Manifests{}
			in.World.Machines[1].Prepared = false // a plan without steps is an error then
		}, []StepID{"kubernetes/v0.10-pai/machine/gpu-01/prepare"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := running(twoReleases(), "v0.10", "head-01", "gpu-01")
			in.Manifests = map[pai.KubernetesVersion]Manifests{v: {Bootstrap: "b", DNS: "d"}}
			in.World.Manifests = in.Manifests[v]
			tt.change(&in)
			p, err := Upgrade(in, Target{Release: "v0.10", KubernetesOnly: true})
			if err != nil {
				t.Fatal(err)
			}
			var got []StepID
			for _, s := range p.Steps {
				got = append(got, s.ID)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
			in.World = in.After(in.World, p.Steps)
			if again, err := Upgrade(in, Target{Release: "v0.10", KubernetesOnly: true}); in.World.APIReachable && (err != nil || len(again.Steps) > 0) {
				t.Errorf("after the plan, %v are left: %v", again.Steps, err)
			}
		})
	}
}

// Control-plane machines and workers get different programs, and their directory
// the same name.
func TestABuildHasOneName(t *testing.T) {
	in := expecting(running(twoReleases(), "v0.10", "head-01", "gpu-01"))
	rebuild(&in, "v0.10-pai", func(machine string, e *ExpectedVersion) {
		patchPrograms(RoleNetwork)(machine, e)
		e.Programs, e.Build = "programs of "+machine, "cccccccccccccccc"
	})
	p, err := Upgrade(in, Target{Release: "v0.10"})
	if err != nil || len(p.Steps) != 4 {
		t.Fatalf("got %d steps, %v; want 4", len(p.Steps), err)
	}
	for _, s := range p.Steps {
		if s.To != "v0.10-pai+cccccccccccc" {
			t.Errorf("step %s leads to %s", s.ID, s.To)
		}
	}
	// A machine that was added later has the programs under the plain name.
	in.World.Machines[1].Programs = []pai.KubernetesVersion{"v0.10-pai"}
	in.World.Machines[1].ProgramDigests = map[pai.KubernetesVersion]string{"v0.10-pai": "programs of gpu-01"}
	if p, err = Upgrade(in, Target{Release: "v0.10"}); err != nil {
		t.Fatal(err)
	}
	for _, s := range p.Steps {
		if want := pai.AnyVersion("v0.10-pai"); s.Target == "gpu-01" && s.To != want {
			t.Errorf("step %s leads to %s, want %s", s.ID, s.To, want)
		}
	}
}
