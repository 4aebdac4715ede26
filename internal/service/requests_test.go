package service

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// goldenObjects are the objects of a service as its golden file has them; none if the release
// lacks it. Of definitions and roles the file has what matters, and this test needs no more.
func goldenObjects(t *testing.T, name, release string) (objs []*unstructured.Unstructured) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name+"-"+release+".yaml"))
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	for document := range strings.SplitSeq(string(data), "---\n") {
		var shown map[string]any
		if err := yaml.Unmarshal([]byte(document), &shown); err != nil {
			t.Fatal(err)
		}
		if shown["kind"] == nil {
			continue
		}
		if shown["metadata"] == nil {
			shown = whole(t, shown)
		}
		text, err := yaml.Marshal(shown)
		if err != nil {
			t.Fatal(err)
		}
		decoded, err := kube.Decode(text)
		if err != nil {
			t.Fatal(err)
		}
		objs = append(objs, decoded...)
	}
	setOwner(objs, name, pai.ServicesVersion(release))
	return objs
}

// whole makes an object of the summary in a golden file.
func whole(t *testing.T, shown map[string]any) map[string]any {
	t.Helper()
	kind, name := shown["kind"].(string), shown["name"].(string)
	metadata := map[string]any{"name": name}
	if namespace, ok := shown["namespace"].(string); ok && namespace != "" {
		metadata["namespace"] = namespace
	}
	o := map[string]any{"kind": kind, "metadata": metadata}
	switch kind {
	case "CustomResourceDefinition":
		plural, group, _ := strings.Cut(name, ".")
		var versions []any
		for _, v := range shown["versions"].([]any) {
			var is, served, stored string
			if _, err := fmt.Sscanf(v.(string), "%s served=%s stored=%s", &is, &served, &stored); err != nil {
				t.Fatal(err)
			}
			versions = append(versions, map[string]any{"name": is, "served": served == "true", "storage": stored == "true"})
		}
		o["apiVersion"] = "apiextensions.k8s.io/v1"
		o["spec"] = map[string]any{"group": group, "names": map[string]any{"plural": plural, "kind": "A" + plural}, "scope": "Namespaced", "versions": versions, "conversion": shown["conversion"]}
	case "ClusterRole", "Role":
		o["apiVersion"], o["rules"] = "rbac.authorization.k8s.io/v1", shown["rules"]
	case "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration":
		o["apiVersion"] = "admissionregistration.k8s.io/v1"
	default:
		t.Fatalf("no form of %s", kind)
	}
	return o
}

// An upgrade of the services from v0.10 to v0.11 asks the API seldom: `make bench-upgrade`
// counts the same on a cluster, together with what the rest of an operation asks. The goal
// for both is 4 requests for each changed object. Workloads are watched, not asked for again
// and again.
func TestRequestsOfAnUpgrade(t *testing.T) {
	t.Parallel()
	newest := sources(t)[len(sources(t))-1]
	services, err := Catalog(newest.services())
	if err != nil {
		t.Fatal(err)
	}
	var all []*unstructured.Unstructured
	for _, s := range services {
		all = append(all, goldenObjects(t, s.Name, "v0.11")...)
	}
	api, client := newFakeAPI(t, all)
	d := newStarter(Deps{Kube: func(context.Context) (*kube.Client, error) { return client, nil }, Progress: t.Logf})
	step := func(s Service, release pai.ServicesVersion) int {
		objs := goldenObjects(t, s.Name, string(release))
		if len(objs) == 0 {
			return 0
		}
		hash, err := kube.Hash(objs)
		if err != nil {
			t.Fatal(err)
		}
		one := plan.Step{Kind: plan.KindService, Target: s.Name, To: pai.AnyVersion(release)}
		d.rendered.keep(one, wanted{s, objs, hash})
		done, err := d.Done(t.Context(), one)
		if err != nil || done {
			t.Fatalf("%s before its step: %t, %v", s.Name, done, err)
		}
		if err := d.Do(t.Context(), one); err != nil {
			t.Fatal(err)
		}
		if done, err = d.Done(t.Context(), one); err != nil || !done {
			t.Fatalf("%s after its step: %t, %v", s.Name, done, err)
		}
		return len(objs)
	}
	for _, s := range services {
		step(s, "v0.10")
	}
	_, _ = api.requests()
	changed, total, asked := 0, 0, map[string]int{}
	for _, s := range services {
		objects := step(s, "v0.11")
		by, n := api.requests()
		if got := by["get namespaces"]; got > 0 && s.Name != "kueue" { // which has namespaces
			t.Errorf("%s: the namespace of the platform was read %d times, although it is known", s.Name, got)
		}
		t.Logf("%s: %d requests for %d objects: %v", s.Name, n, objects, by)
		changed, total = changed+objects, total+n
		for what, n := range by {
			asked[what] += n
		}
	}
	if changed < 90 {
		t.Fatalf("%d objects are not those of all services", changed)
	}
	if most := changed * 4; total > most {
		t.Errorf("%d requests for %d changed objects, want at most %d: %v", total, changed, most, asked)
	}
	if got := asked["get deployments"] + asked["get daemonsets"]; got > 6*8 {
		t.Errorf("workloads were read %d times, want a watch instead", got)
	}
	for _, what := range slices.Sorted(maps.Keys(asked)) {
		t.Logf("%4d %s", asked[what], what)
	}
}
