package check

import (
	"errors"
	"maps"
	"strings"
	"testing"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/release"
)

func TestContentStillToCopy(t *testing.T) {
	t.Parallel()
	to := twoReleases()[1]
	expect(t, []expectation{
		{"complete", contentOf(plan.MachineState{Programs: []pai.KubernetesVersion{"v0.10-pai"}, Images: []string{"sha256:x"}}, to, "sha256:x", 1<<30, 1<<30), OK, "is complete"},
		{"empty machine", contentOf(plan.MachineState{}, to, "sha256:x", 2<<30, 1<<30), OK, "programs of Kubernetes v0.10-pai (up to 2.0 GiB), images of release v0.10 (1.0 GiB)"},
	})
	w := &world{Input: Input{Target: to, Releases: twoReleases(), Plan: plan.Plan{Steps: []plan.Step{
		{Kind: plan.KindPrograms, To: "v0.9-pai"}, {Kind: plan.KindService, To: "v0.10"}, {Kind: plan.KindImages, To: "v0.9"}}}}}
	var names []string
	for _, v := range w.releases() {
		names = append(names, string(v))
	}
	if got := strings.Join(names, " "); got != "v0.10 v0.9" {
		t.Errorf("got bundles of %q", got)
	}
}

// What must be free is what the plan writes, of every release on its way: a service that is
// started needs no space for a second etcd, and an upgrade over two releases stores both.
func TestSpaceIsWhatThePlanWrites(t *testing.T) {
	t.Parallel()
	const programs, images, etcd = 100, 10, 1000 // bytes
	content := func(s plan.Step) (int64, int64, error) { return programs, images, nil }
	etcdSize := func() int64 { return etcd }
	for _, c := range []struct {
		name  string
		kinds []plan.Kind
		want  map[string]int64
	}{
		{"nothing", nil, map[string]int64{}},
		{"services start", []plan.Kind{plan.KindService, plan.KindServices}, map[string]int64{}},
		{"one release", []plan.Kind{plan.KindPrograms, plan.KindImages, plan.KindSnapshot, plan.KindEtcd, plan.KindKubelet}, map[string]int64{
			layout.ProgramsDir: 4 * programs, layout.ContainerdDir: 5 * images, layout.SnapshotsDir: 2 * etcd, layout.EtcdDir: etcd}},
		{"two releases", []plan.Kind{plan.KindPrograms, plan.KindSnapshot, plan.KindEtcd, plan.KindSnapshot, plan.KindPrograms, plan.KindImages, plan.KindSnapshot, plan.KindEtcd}, map[string]int64{
			layout.ProgramsDir: 8 * programs, layout.ContainerdDir: 5 * images, layout.SnapshotsDir: 4 * etcd, layout.EtcdDir: etcd}},
		{"restore", []plan.Kind{plan.KindRestore}, map[string]int64{layout.EtcdDir: etcd}},
	} {
		var steps []plan.Step
		for _, k := range c.kinds {
			steps = append(steps, plan.Step{Kind: k})
		}
		if got, err := spaceNeeds(steps, etcdSize, content); err != nil || !maps.Equal(got, c.want) {
			t.Errorf("%s: got %v, error %v; want %v", c.name, got, err, c.want)
		}
	}
}

// A machine needs what its own steps write, and the control plane also what those of the
// cluster do. Without a plan, the largest upgrade to the target counts.
func TestStepsOnAMachine(t *testing.T) {
	t.Parallel()
	w := &world{Input: Input{Target: twoReleases()[1], Releases: twoReleases(), Plan: plan.Plan{Steps: []plan.Step{
		{Kind: plan.KindPrograms, Target: "m1"}, {Kind: plan.KindImages, Target: "m2"}, {Kind: plan.KindEtcd}}}}}
	w.Bundle = func(pai.Release) (*release.Bundle, error) { return nil, errors.New("missing") }
	kinds := func(m observedMachine) string {
		var all []string
		for _, s := range w.stepsOn(m) {
			all = append(all, string(s.Kind))
		}
		return strings.Join(all, " ")
	}
	first, second := controlPlaneMachine(machineFacts{}), workerMachine(machineFacts{})
	first.state.Roles = map[plan.Role]plan.RoleState{plan.RoleEtcdA: {Link: "v0.9-pai", Running: "v0.9-pai"}}
	if a, b := kinds(first), kinds(second); a != "machine-programs cluster-etcd" || b != "machine-images" {
		t.Errorf("got %q and %q", a, b)
	}
	if !w.startsControlPlane(first) || w.startsControlPlane(second) {
		t.Error("want a second etcd on the control plane only")
	}
	w.PlanErr = errors.New("nothing could be planned")
	if a, b := kinds(first), kinds(second); a != "machine-programs machine-images cluster-snapshot cluster-etcd" || b != "machine-programs machine-images" {
		t.Errorf("without a plan: got %q and %q", a, b)
	}
}
