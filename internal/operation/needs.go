package operation

import (
	"context"
	"slices"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/release"
)

// needsOf returns the oldest release whose paictl knows every version that the
// cluster has and that a plan leads to. all is false if a part of the cluster was
// not observed.
func needsOf(known []release.Manifest, w plan.World, p plan.Plan) (needs pai.Release, all bool) {
	kubernetes, services := versionsIn(w)
	if slices.ContainsFunc(p.Steps, func(s plan.Step) bool { return !copies(s.Kind) }) {
		kubernetes, services = append(kubernetes, p.To.Kubernetes), append(services, p.To.Services)
	}
	oldestFirst := slices.SortedStableFunc(slices.Values(known), func(a, b release.Manifest) int {
		return a.Metadata.Name.Compare(b.Metadata.Name)
	})
	include := func(brings func(release.Manifest) bool) {
		if i := slices.IndexFunc(oldestFirst, brings); i >= 0 && needs.Less(oldestFirst[i].Metadata.Name) {
			needs = oldestFirst[i].Metadata.Name
		}
	}
	for _, v := range kubernetes {
		include(func(r release.Manifest) bool { return v != "" && r.Kubernetes.Version.Compare(v) == 0 })
	}
	for _, v := range services {
		include(func(r release.Manifest) bool { return v != "" && r.Services.Version.Compare(v) == 0 })
	}
	all = w.APIReachable && !slices.ContainsFunc(w.Machines, func(m plan.MachineState) bool { return m.Unreachable != "" })
	return needs, all
}

// copies reports whether a step only brings what a later step uses.
func copies(k plan.Kind) bool {
	return slices.Contains([]plan.Kind{plan.KindPrepare, plan.KindPrograms, plan.KindImages}, k)
}

// versionsIn lists the versions that a cluster has.
func versionsIn(w plan.World) (kubernetes []pai.KubernetesVersion, services []pai.ServicesVersion) {
	kubernetes, services = append(kubernetes, w.Current.Kubernetes), append(services, w.Current.Services, w.RecordedServices)
	for _, m := range w.Machines {
		for _, r := range m.Roles {
			kubernetes = append(kubernetes, r.Link, r.Running)
		}
	}
	for _, s := range w.Services {
		services = append(services, s.Release)
	}
	return kubernetes, services
}

// lowerNeeds lets an older paictl operate again after a rollback. It looks at the
// whole cluster once more, because a rollback can leave a part newer. If a part
// cannot be observed, nothing changes.
func (o *operation) lowerNeeds(ctx context.Context) {
	to, _ := needsOf(o.Releases, plan.World{Current: o.preview.Plan.To}, plan.Plan{})
	if o.lock.Needs() == "" || !to.Less(o.lock.Needs()) {
		return
	}
	w, err := Observe(ctx, o.Session)
	if err != nil {
		o.log.Info("what the cluster needs stays", "error", err.Error())
		return
	}
	if needs, all := needsOf(o.Releases, w, plan.Plan{}); all {
		o.lock.SetNeeds(needs)
	}
}
