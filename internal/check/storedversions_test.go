package check

import (
	"context"
	"io/fs"
	"strings"
	"testing"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/release"
)

func TestStoredVersions(t *testing.T) {
	t.Parallel()
	now := definition(t, `{metadata: {name: cars.example.com}, spec: {versions: [{name: v1beta1}, {name: v1, storage: true}]}, status: {storedVersions: [v1beta1, v1]}}`)
	of := func(versions string) []Result {
		results, _ := replaced(now, definition(t, `{spec: {versions: `+versions+`}}`), "v0.12")
		return results
	}
	expect(t, []expectation{
		{"removed", of(`[{name: v1, served: true, storage: true}, {name: v2, served: true}]`)[0], OK, "release v0.12 has no v1beta1: PAI first writes every object again as v1"},
		{"nothing in common", of(`[{name: v2, served: true, storage: true}]`)[0], Failed, "release v0.12 cannot replace the definition"},
		{"no longer served", of(`[{name: v1beta1, served: false}, {name: v1, served: true, storage: true}]`)[0], Warning, "no longer serves"},
	})
	if got := of(`[{name: v1beta1, served: true}, {name: v1, served: true, storage: true}]`); len(got) != 0 {
		t.Errorf("got %+v, want no result if all versions stay", got)
	}
}

// The definitions of Kueue in v0.9, v0.10, v0.11, and in a release that drops v1beta1.
func TestStoredVersionsAreCheckedHopByHop(t *testing.T) {
	t.Parallel()
	versions := map[pai.Release]string{"v0.9": "v1beta1*", "v0.10": "v1beta1* v1beta2", "v0.11": "v1beta1 v1beta2*", "v0.12": "v1beta2*"}
	kind := func(of pai.Release, stored ...string) apiextensions.CustomResourceDefinition {
		d := apiextensions.CustomResourceDefinition{}
		d.Name, d.Status.StoredVersions = "workloads.kueue.x-k8s.io", stored
		for _, v := range strings.Fields(versions[of]) {
			name, storage := strings.CutSuffix(v, "*")
			d.Spec.Versions = append(d.Spec.Versions, apiextensions.CustomResourceDefinitionVersion{Name: name, Served: true, Storage: storage})
		}
		return d
	}
	var releases []release.Manifest
	for name := range versions {
		releases = append(releases, release.Manifest{Metadata: release.Metadata{Name: name}, Services: release.ServicesRow{Version: pai.ServicesVersion(name)}})
	}
	hop := func(to string) plan.Hop {
		return plan.Hop{Kind: plan.HopServices, To: pai.AnyVersion(to)}
	}
	for _, c := range []struct {
		name  string
		verb  pai.Verb
		now   apiextensions.CustomResourceDefinition
		hops  []plan.Hop
		steps []plan.Step
		want  string
	}{
		{"upgrade", pai.VerbUpgrade, kind("v0.10", "v1beta1"), []plan.Hop{hop("v0.11")}, nil, "ok: 1 definitions keep every stored version"},
		{"back over two releases", pai.VerbRollback, kind("v0.11", "v1beta1", "v1beta2"), []plan.Hop{hop("v0.9")}, nil,
			"ok: the definition of release v0.9 has no v1beta2: PAI first writes every object again as v1beta1"},
		{"back from the release that dropped v1beta1", pai.VerbRollback, kind("v0.12", "v1beta2"), []plan.Hop{hop("v0.9")}, nil,
			"failed: release v0.9 cannot replace the definition: objects of workloads.kueue.x-k8s.io might be stored as v1beta2, and no version is in both definitions: the present one has v1beta2, the next one v1beta1"},
		{"forward over all", pai.VerbUpgrade, kind("v0.9", "v1beta1"), []plan.Hop{hop("v0.10"), hop("v0.11"), hop("v0.12")}, nil,
			"ok: the definition of release v0.12 has no v1beta1: PAI first writes every object again as v1beta2"},
		{"forward in one step", pai.VerbUpgrade, kind("v0.9", "v1beta1"), []plan.Hop{hop("v0.12")}, nil,
			"failed: release v0.12 cannot replace the definition: objects of workloads.kueue.x-k8s.io might be stored as v1beta1, and no version is in both definitions: the present one has v1beta1, the next one v1beta2"},
		{"Kubernetes alone back", pai.VerbRollback, kind("v0.12", "v1beta2"), nil, nil, ""},
		{"back to a snapshot", pai.VerbRollback, kind("v0.12", "v1beta2"), []plan.Hop{hop("v0.9")}, []plan.Step{{Kind: plan.KindRestore}}, ""},
	} {
		w := newWorld(t.Context(), Input{Config: &config.Config{}, Releases: releases, Plan: plan.Plan{Verb: c.verb, Hops: c.hops, Steps: c.steps}})
		w.api.definitions = observe(t.Context(), func(context.Context) (map[string]apiextensions.CustomResourceDefinition, error) {
			return definitions{c.now.Name: c.now}, nil
		})
		w.definitionsOf = func(_ context.Context, m release.Manifest) ([]apiextensions.CustomResourceDefinition, error) {
			return []apiextensions.CustomResourceDefinition{kind(m.Metadata.Name)}, nil
		}
		results, err := storedVersions(t.Context(), w)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range results {
			got = append(got, string(r.Outcome)+": "+r.Found)
		}
		if strings.Join(got, "\n") != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

// A rollback applies what is recorded, and needs no bundle for that.
func TestDefinitionsOfRecordedServices(t *testing.T) {
	t.Parallel()
	w := newWorld(t.Context(), Input{Config: &config.Config{}, Bundle: noBundle})
	object := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": map[string]any{"name": "cars.example.com"}}}
	got, err := w.render(t.Context(), release.Manifest{}, map[string][]*unstructured.Unstructured{"kueue": {object}})
	if err != nil || len(got.Definitions) != 1 {
		t.Errorf("got %+v, %v, want the recorded definition", got.Definitions, err)
	}
	if _, err := w.render(t.Context(), release.Manifest{}, nil); err == nil {
		t.Error("got no error without a record and a bundle")
	}
}

func noBundle(pai.Release) (*release.Bundle, error) { return nil, fs.ErrNotExist }
