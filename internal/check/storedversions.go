package check

import (
	"context"
	"maps"
	"slices"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/release"
	"pai.dev/pai/internal/service"
)

// definitions are the definitions of a cluster or a release, by name.
type definitions map[string]apiextensions.CustomResourceDefinition

// storedVersions: the API server refuses a definition without a version that objects
// might be stored as. PAI writes such objects again, in a version that both
// definitions have; without one, the operation must not start. Each hop is checked
// with what the hop before it leaves.
func storedVersions(ctx context.Context, w *world) ([]Result, error) {
	hops, err := w.servicesHops()
	if err != nil || len(hops) == 0 {
		return nil, err
	}
	installed, err := w.api.definitions.get(ctx)
	if err != nil {
		return nil, err
	}
	now := maps.Clone(definitions(installed))
	var all []Result
	kept := 0
	for _, m := range hops {
		next, err := w.definitionsOf(ctx, m)
		if err != nil {
			return all, err
		}
		for _, d := range next {
			if before, ok := now[d.Name]; ok {
				kept++
				var results []Result
				results, d.Status.StoredVersions = replaced(before, d, m.Metadata.Name)
				all = append(all, results...)
			}
			now[d.Name] = d
		}
	}
	return orOkay(all, "%d definitions keep every stored version", kept), nil
}

// servicesHops are the releases whose services the plan applies, in order; without a
// plan, or if it replaces no services, the target. A rollback to a snapshot of etcd brings
// the definitions of the snapshot.
func (w *world) servicesHops() ([]release.Manifest, error) {
	var hops []release.Manifest
	for _, h := range w.Plan.Hops {
		if h.Kind != plan.HopServices {
			continue
		}
		to := h.To.Services()
		i := slices.IndexFunc(w.Releases, func(m release.Manifest) bool { return m.Services.Version.Compare(to) == 0 })
		if i < 0 {
			return nil, pai.Errorf(pai.CodeRefused, "list the releases; run: paictl release list", "no release carries services %s", to)
		}
		hops = append(hops, w.Releases[i])
	}
	switch {
	case slices.ContainsFunc(w.Plan.Steps, func(s plan.Step) bool { return s.Kind == plan.KindRestore }):
		return nil, nil
	case len(hops) == 0 && w.Plan.Verb != pai.VerbRollback:
		return []release.Manifest{w.Target}, nil
	default:
		return hops, nil
	}
}

// renderDefinitions renders the definitions that the plan applies for a release.
func (w *world) renderDefinitions(ctx context.Context, m release.Manifest) ([]apiextensions.CustomResourceDefinition, error) {
	rollback := w.Plan.Verb == pai.VerbRollback
	if !rollback && m.Metadata.Name == w.Target.Metadata.Name {
		target, err := w.target.get(ctx)
		return target.Definitions, err
	}
	var recorded map[string][]*unstructured.Unstructured
	if rollback {
		client, err := w.api.client.get(ctx)
		if err != nil {
			return nil, err
		}
		if recorded, err = service.RecordedObjects(ctx, client, m.Services.Version); err != nil {
			return nil, err
		}
	}
	of, err := w.render(ctx, m, recorded)
	return of.Definitions, err
}

// replaced is what happens to stored objects when a definition takes the place of
// another one, and the versions that objects might be stored as afterwards.
func replaced(now, next apiextensions.CustomResourceDefinition, name pai.Release) (results []Result, stored []string) {
	change, err := kube.StorageChangeOf(&now, &next)
	stored = slices.Clone(now.Status.StoredVersions)
	switch {
	case err != nil:
		results = append(results, failed(now.Name, "go through a release whose definition has a version of both", "release %s cannot replace the definition: %v", name, err))
	case change != nil:
		stored = []string{change.To}
		results = append(results, okay(now.Name, "the definition of release %s has no %s: PAI first writes every object again as %s", name, change.DroppedText(), change.To))
	}
	for _, v := range next.Spec.Versions {
		if !v.Served && slices.Contains(stored, v.Name) {
			results = append(results, warning(now.Name, "no action needed: the release still reads stored objects", "objects might be stored as %s, which release %s no longer serves", v.Name, name))
		}
		if v.Storage && !slices.Contains(stored, v.Name) {
			stored = append(stored, v.Name)
		}
	}
	return results, stored
}
