package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"pai.dev/pai/internal/golden"
	"pai.dev/pai/internal/pai"
)

// incomplete returns an input after the first n steps of an upgrade.
func incomplete(t *testing.T, n int, machines ...string) Input {
	t.Helper()
	in := running(twoReleases(), "v0.9", machines...)
	p, err := Upgrade(in, Target{Release: "v0.10"})
	if err != nil {
		t.Fatal(err)
	}
	in.World = in.After(in.World, p.Steps[:n])
	return in
}

// before is how many steps of the upgrade come before one.
func before(t *testing.T, id StepID, machines ...string) int {
	t.Helper()
	p, err := Upgrade(running(twoReleases(), "v0.9", machines...), Target{Release: "v0.10"})
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range p.Steps {
		if s.ID == id {
			return i
		}
	}
	t.Fatalf("the upgrade has no step %s", id)
	return 0
}

var nine = pai.Pair{Services: "v0.9", Kubernetes: "v0.9-pai"}

const commitStep = "kubernetes/v0.10-pai/cluster/commit"

func TestRollbackGolden(t *testing.T) {
	machines := []string{"cp-01", "gpu-01"}
	for _, c := range []struct {
		name   string
		in     Input
		target Target
	}{
		{"rollback-before-commit", incomplete(t, before(t, commitStep, machines...), machines...), Target{}},
		{"rollback-api-unavailable", func() Input {
			in := incomplete(t, before(t, commitStep, machines...), machines...)
			in.World.APIReachable, in.World.APIError = false, "no API server answers"
			return in
		}(), Target{}},
		{"rollback-after-commit", withSnapshot(running(twoReleases(), "v0.10", machines...)), Target{}},
		{"rollback-services", running(twoReleases(), "v0.10", machines...), Target{ServicesOnly: true}},
		{"rollback-nothing", running(twoReleases(), "v0.9", machines...), Target{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := Rollback(c.in, nine, c.target)
			if err != nil {
				t.Fatal(err)
			}
			golden.Check(t, "testdata/plans/"+c.name+".txt", Text(p, jobsOn(p, "gpu-01"))+waits(p))
		})
	}
}

// newerEtcd gives the newer release an etcd of the next minor.
func newerEtcd(in Input, minors int) Input {
	for i, r := range in.Releases {
		for j, p := range r.Programs {
			if p.Name == programEtcd && r.Metadata.Name == "v0.10" {
				in.Releases[i].Programs[j].Version = fmt.Sprintf("v3.%d.3", 6+minors)
			}
		}
	}
	return in
}

// etcd rewrites its data for the minor before, so it is rolled back by one minor. A
// restored snapshot is served by the newer etcd first.
func TestRollbackOfEtcd(t *testing.T) {
	const machine = "cp-01"
	killed := func() Input { return incomplete(t, before(t, commitStep, machine), machine) }
	committed := func() Input { return withSnapshot(running(twoReleases(), "v0.10", machine)) }
	for _, c := range []struct {
		name   string
		in     Input
		minors int
		want   []Kind
	}{
		{"before the commit, the same minor", killed(), 0, []Kind{KindAPIServer, KindEtcd}},
		{"before the commit, one minor", killed(), 1, []Kind{KindAPIServer, KindEtcd}},
		{"before the commit, two minors", killed(), 2, []Kind{KindAPIServer}},
		{"after the commit, the same minor", committed(), 0, []Kind{KindRestore}},
		{"after the commit, one minor", committed(), 1, []Kind{KindRestore, KindEtcd}},
		{"after the commit, two minors", committed(), 2, []Kind{KindRestore}},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := newerEtcd(c.in, c.minors)
			p, err := Rollback(in, nine, Target{})
			if err != nil {
				t.Fatal(err)
			}
			var got []Kind
			for _, s := range p.Steps {
				if slices.Contains([]Kind{KindAPIServer, KindEtcd, KindRestore}, s.Kind) {
					got = append(got, s.Kind)
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
			after := in.After(in.World, p.Steps).Machines[0]
			etcd := cmp.Or(after.Roles[RoleEtcdA].Running, after.Roles[RoleEtcdB].Running)
			if stays := c.minors > 1; (etcd == "v0.10-pai") != stays || (etcd == "v0.9-pai") == stays {
				t.Errorf("got etcd of %s afterwards", etcd)
			}
		})
	}
}

func withSnapshot(in Input) Input {
	in.Snapshots = []string{"v0.9-pai-to-v0.10-pai.db", "v0.9-pai-to-v0.10-pai-commit.db"}
	return in
}

func TestRollbackRefuses(t *testing.T) {
	ten := running(twoReleases(), "v0.10", "cp-01")
	stranger := running(twoReleases(), "v0.10", "cp-01")
	delete(stranger.Services, "v0.9")
	for _, c := range []struct {
		name, contains string
		in             Input
		target         Target
	}{
		{"Kubernetes under services that need it", "services v0.10 run on Kubernetes v0.10-pai or newer", ten, Target{KubernetesOnly: true}},
		{"what is committed, without a snapshot", "no etcd snapshot from before it is left", ten, Target{}},
		{"a restored Kubernetes under the services of now", "also rolls back the services", func() Input {
			in := withSnapshot(running(twoReleases(), "v0.10", "cp-01"))
			in.Releases[1].Kubernetes.CompatibleSince = "v0.9-pai"
			return in
		}(), Target{KubernetesOnly: true}},
		{"services without a record and a bundle", "neither recorded in the cluster nor in a bundle", stranger, Target{ServicesOnly: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Rollback(c.in, nine, c.target)
			if pai.CodeOf(err) != pai.CodeRefused || err == nil || !strings.Contains(err.Error(), c.contains) {
				t.Errorf("got %v, want a refusal with %q", err, c.contains)
			}
		})
	}
}

// Wherever an upgrade is interrupted before its commit, a rollback ends in the
// state in which the upgrade started, also if the rollback is killed anywhere.
// Nothing is ever newer than the API server that it uses.
func TestRollbackBeforeCommitRestoresStart(t *testing.T) {
	machines := []string{"cp-01", "gpu-01", "gpu-02"}
	rapid.Check(t, func(rt *rapid.T) {
		in := running(twoReleases(), "v0.9", machines...)
		p, err := Upgrade(in, Target{Release: "v0.10"})
		if err != nil {
			rt.Fatal(err)
		}
		order := linear(rt, p)
		cut := rapid.IntRange(0, len(order)).Draw(rt, "left after")
		for i, s := range order[:cut] {
			if s.ID == commitStep {
				cut = i
				break
			}
		}
		start := in.World
		in.World = in.After(in.World, order[:cut])
		pins := PinsOf(in.Releases)
		for round := 0; ; round++ {
			plan, err := Rollback(in, nine, Target{})
			if err != nil {
				rt.Fatal(err)
			}
			if len(plan.Hops) == 0 || round == 2 {
				for i, m := range in.World.Machines {
					for r, was := range start.Machines[i].Roles {
						slot := r == RoleEtcdA || r == RoleEtcdB || r == RoleAPIServerA || r == RoleAPIServerB
						if now := m.Roles[r]; !slot && now != was {
							rt.Fatalf("%s of %s is %+v, was %+v", r, m.Name, now, was)
						}
					}
				}
				if newest := newestKubernetes(in.World); newest != "v0.9-pai" {
					rt.Fatalf("%s is left", newest)
				}
				return
			}
			steps := linear(rt, plan)
			killed := len(steps)
			if round == 0 {
				killed = rapid.IntRange(0, len(steps)).Draw(rt, "killed after")
			}
			for _, s := range steps[:killed] {
				in.World = in.After(in.World, []Step{s})
				if problem := skew(in.World, pins); problem != "" {
					rt.Fatalf("after %s: %s", s.ID, problem)
				}
			}
		}
	})
}
