package plan

import (
	"slices"
	"testing"
)

// The API proxy of the control plane is replaced before the API server is handed over, in which
// the connections of the proxy before end. Where no API server runs, it comes after it.
func TestAPIProxyIsReplacedBeforeTheHandover(t *testing.T) {
	t.Parallel()
	releases := twoReleases()
	for i := range releases[1].Programs {
		if releases[1].Programs[i].Name == "api-proxy" {
			releases[1].Programs[i].Version = "v2"
		}
	}
	machines := []string{"cp-01", "gpu-01"}
	up := running(releases, "v0.9", machines...)
	upgrade, err := Upgrade(up, Target{Release: "v0.10", KubernetesOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	commit := slices.IndexFunc(upgrade.Steps, func(s Step) bool { return s.Kind == KindCommit })
	uncommitted := up
	uncommitted.World = up.After(up.World, upgrade.Steps[:commit])
	rollback, err := Rollback(uncommitted, nine, Target{})
	if err != nil {
		t.Fatal(err)
	}
	boot, err := Boot(input(bare(machines...), releases), pairOf(releases[1]))
	if err != nil {
		t.Fatal(err)
	}
	const up10, back9 = "kubernetes/v0.10-pai/", "kubernetes/v0.9-pai/"
	for _, c := range []struct {
		name          string
		p             Plan
		first, second StepID
	}{
		{"upgrade, etcd", upgrade, up10 + "machine/cp-01/api-proxy", up10 + "cluster/etcd"},
		{"upgrade, API server", upgrade, up10 + "machine/cp-01/api-proxy", up10 + "cluster/apiserver"},
		{"upgrade, worker", upgrade, up10 + "cluster/apiserver", up10 + "machine/gpu-01/api-proxy"},
		{"upgrade, snapshot", upgrade, up10 + "cluster/snapshot", up10 + "machine/cp-01/api-proxy"},
		{"rollback, API server", rollback, back9 + "machine/cp-01/api-proxy", back9 + "cluster/apiserver"},
		{"rollback, etcd", rollback, back9 + "machine/cp-01/api-proxy", back9 + "cluster/etcd"},
		{"rollback, worker", rollback, back9 + "cluster/apiserver", back9 + "machine/gpu-01/api-proxy"},
		{"boot", boot, up10 + "cluster/apiserver", up10 + "machine/cp-01/api-proxy"},
	} {
		if !waitsFor(c.p, c.second, c.first) {
			t.Errorf("%s: %s does not wait for %s", c.name, c.second, c.first)
		}
	}
}

// waitsFor reports whether a step of a plan waits for another one, directly or not.
func waitsFor(p Plan, id, other StepID) bool {
	i := slices.IndexFunc(p.Steps, func(s Step) bool { return s.ID == id })
	return i >= 0 && slices.ContainsFunc(p.Steps[i].After, func(a StepID) bool { return a == other || waitsFor(p, a, other) })
}
