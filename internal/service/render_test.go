package service

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/golden"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/release"
)

// olderTree has the releases and services of commit c82e023: what its bundles of
// v0.9 and v0.10 contain.
const olderTree = "testdata/c82e023"

// source is a release without a bundle.
type source struct {
	manifest release.Manifest
	tree     string // directory of the source tree that builds it
}

// services are the templates of the release.
func (s source) services() fs.FS { return os.DirFS(filepath.Join(s.tree, "services")) }

func (s source) Manifest() release.Manifest { return s.manifest }

func (s source) Image(name string) string {
	for _, i := range s.manifest.Images {
		if i.Name == name {
			return i.Ref()
		}
	}
	return ""
}

// sources are all releases, oldest first. Older ones have the templates that
// their bundles have.
func sources(t *testing.T) []source {
	t.Helper()
	var out []source
	for _, tree := range []string{olderTree, "../.."} {
		manifests, err := release.Load(os.DirFS(filepath.Join(tree, "releases")))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range manifests {
			if len(out) == 0 || !out[len(out)-1].manifest.Metadata.Name.AtLeast(m.Metadata.Name) {
				out = append(out, source{m, tree})
			}
		}
	}
	return out
}

// testConfig has one virtual cluster with limits and one without.
func testConfig() *config.Config {
	c := &config.Config{}
	c.Layout.MachineList = []config.Machine{{Hostname: "m-1", HostIP: "10.0.0.1", Role: config.RoleControlPlane}}
	c.Services.RestServer.ServerPort = config.DefaultRestServerPort
	c.Services.Webportal.ServerPort = config.DefaultPortalPort
	c.Services.Prometheus = config.Prometheus{Port: config.DefaultPrometheusPort, ScrapeInterval: config.DefaultScrapeInterval}
	c.Services.NodeExporter.Port = config.DefaultNodeExporter
	c.Services.VirtualClusters = map[string]config.VirtualCluster{"default": {}, "vision": {CPU: 8, MemoryMB: 16384, GPU: 4}}
	return c
}

// oneService reads one service of a release, with another chart if given.
func oneService(t *testing.T, src source, name string, chart fs.FS) Service {
	t.Helper()
	fsys := fstest.MapFS{}
	copyInto(t, fsys, name, os.DirFS(filepath.Join(src.tree, "services", name)))
	if chart != nil {
		copyInto(t, fsys, name+"/"+chartDir, chart)
	}
	s, err := load(fsys, name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func copyInto(t *testing.T, to fstest.MapFS, prefix string, from fs.FS) {
	t.Helper()
	err := fs.WalkDir(from, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(from, p)
		to[prefix+"/"+p] = &fstest.MapFile{Data: data}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// checkRendered compares what was rendered with testdata/<name>.yaml.
func checkRendered(t *testing.T, name string, objs []*unstructured.Unstructured) {
	t.Helper()
	golden.Check(t, filepath.Join("testdata", name+".yaml"), readable(t, objs))
}

// readable prints objects for people: of definitions, webhooks and roles what
// matters, of all else everything.
func readable(t *testing.T, objs []*unstructured.Unstructured) string {
	t.Helper()
	var b strings.Builder
	for _, obj := range objs {
		shown := obj.Object
		switch obj.GetKind() {
		case "CustomResourceDefinition":
			versions, _, _ := unstructured.NestedSlice(obj.Object, "spec", "versions")
			var list []any
			for _, v := range versions {
				version := v.(map[string]any)
				list = append(list, fmt.Sprintf("%v served=%v stored=%v", version["name"], version["served"], version["storage"]))
			}
			conversion, _, _ := unstructured.NestedFieldNoCopy(obj.Object, "spec", "conversion")
			shown = map[string]any{"kind": obj.GetKind(), "name": obj.GetName(), "versions": list, "conversion": conversion}
		case "ClusterRole", "Role":
			shown = map[string]any{"kind": obj.GetKind(), "name": obj.GetName(), "namespace": obj.GetNamespace(), "rules": obj.Object["rules"]}
			if rule, ok := obj.Object["aggregationRule"]; ok {
				shown["aggregationRule"] = rule
			}
		}
		data, err := yaml.Marshal(shown)
		if err != nil {
			t.Fatal(err)
		}
		b.WriteString("---\n")
		b.Write(data)
	}
	return b.String()
}

// ownCharts are the services whose charts are in this repository.
var ownCharts = []string{"alertmanager", "kube-state-metrics", "node-exporter", "portal", "prometheus", "rest-server"}

func TestRenderOwnCharts(t *testing.T) {
	for _, src := range sources(t) {
		for _, name := range ownCharts {
			if !slices.ContainsFunc(src.manifest.ServiceList, func(p release.ServicePin) bool { return p.Name == name }) {
				continue // newer than the release
			}
			t.Run(name+"-"+string(src.manifest.Metadata.Name), func(t *testing.T) {
				objs, err := Render(t.Context(), oneService(t, src, name, nil), testConfig(), src)
				if err != nil {
					t.Fatal(err)
				}
				checkRendered(t, name+"-"+string(src.manifest.Metadata.Name), objs)
				again, err := Render(t.Context(), oneService(t, src, name, nil), testConfig(), src)
				if err != nil {
					t.Fatal(err)
				}
				if readable(t, objs) != readable(t, again) {
					t.Error("the same input gives other objects the second time")
				}
			})
		}
	}
}

// TestEveryServiceOfEveryRelease: releases and services/ name the same things.
func TestEveryServiceOfEveryRelease(t *testing.T) {
	for _, src := range sources(t) {
		services, err := Catalog(src.services())
		if err != nil {
			t.Fatal(err)
		}
		var have, listed []string
		for _, s := range services {
			have = append(have, s.Name)
		}
		for _, pin := range src.manifest.ServiceList {
			listed = append(listed, pin.Name)
			if !slices.Contains(have, pin.Name) {
				t.Errorf("release %s has service %s, services/ has not", src.manifest.Metadata.Name, pin.Name)
			}
		}
		for _, s := range services {
			for _, p := range s.Prerequisites {
				if slices.Contains(listed, s.Name) && !slices.Contains(listed, p) {
					t.Errorf("release %s has %s and not its prerequisite %s", src.manifest.Metadata.Name, s.Name, p)
				}
			}
		}
	}
}

const goodDeployment = `apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: wrong-for-cluster-kinds-only}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: main, image: "{{ .Values.image }}", imagePullPolicy: Never}]}
`

// small is a service of one template and other files.
func small(t *testing.T, template string, more map[string]string) Service {
	t.Helper()
	files := map[string]string{
		"prometheus/service.yaml":           "name: prometheus\njobImpact: none\nstate: none\nimages: [prometheus]\n",
		"prometheus/chart/Chart.yaml":       "apiVersion: v2\nname: prometheus\nversion: 0.1.0\n",
		"prometheus/chart/templates/a.yaml": template,
		"prometheus/values.yaml.tmpl":       `image: {{ image "prometheus" }}`,
	}
	for name, content := range more {
		files["prometheus/"+name] = content
	}
	s, err := load(tree(files), "prometheus")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestRenderRefuses(t *testing.T) {
	tests := []struct {
		name, template string
		more           map[string]string
		want           string
	}{
		{"foreign image", strings.ReplaceAll(goodDeployment, "{{ .Values.image }}", "docker.io/x:1"), nil, "which is not an image of the service"},
		{"image that would be pulled", strings.ReplaceAll(goodDeployment, "Never", "Always"), nil, "has imagePullPolicy Always, not Never"},
		{"patch without object", goodDeployment, map[string]string{patchesFile: "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: wbe}\n"}, "the chart has no apps/v1, Kind=Deployment wbe"},
		{"unknown value", goodDeployment, map[string]string{valuesFile: "image: {{ .Config.Services.Nothing }}"}, "can't evaluate field Nothing"},
		{"unknown image", goodDeployment, map[string]string{valuesFile: `image: {{ image "none" }}`}, `has no image "none"`},
		{"duplicate object", goodDeployment + "---\n" + goodDeployment, nil, "duplicate object Deployment"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := Render(t.Context(), small(t, test.template, test.more), testConfig(), sources(t)[0])
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want an error with %q", err, test.want)
			}
		})
	}
}

func TestRenderPreparesForApply(t *testing.T) {
	const template = `
apiVersion: v1
kind: Secret
metadata: {name: cert}
data: {tls.crt: "", tls.key: ""}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: role, namespace: nonsense}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.test.pai.dev}
spec: {group: test.pai.dev, scope: Cluster, names: {kind: Thing, plural: things}}
---
apiVersion: test.pai.dev/v1
kind: Thing
metadata: {name: one}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: hooks}
webhooks:
- {name: a, clientConfig: {caBundle: Cg==, service: {name: x}}}
`
	objs, err := Render(t.Context(), small(t, template, nil), testConfig(), sources(t)[0])
	if err != nil {
		t.Fatal(err)
	}
	byKind := map[string]*unstructured.Unstructured{}
	for _, o := range objs {
		byKind[o.GetKind()] = o
	}
	if _, found := byKind["Secret"].Object["data"]; found {
		t.Error("got the empty values of a Secret, which overwrite the certificates; want none")
	}
	if got := byKind["Secret"].GetNamespace(); got != "pai-system" {
		t.Errorf("got namespace %q for an object without one, want pai-system", got)
	}
	for _, kind := range []string{"ClusterRole", "Thing", "CustomResourceDefinition"} {
		if got := byKind[kind].GetNamespace(); got != "" {
			t.Errorf("got cluster-scoped %s in namespace %q, want none", kind, got)
		}
	}
	if got, _, _ := unstructured.NestedString(byKind["CustomResourceDefinition"].Object, "spec", "conversion", "strategy"); got != "None" {
		t.Errorf("got conversion strategy %q for a definition without conversion, want None", got)
	}
	webhooks, _, _ := unstructured.NestedSlice(byKind["ValidatingWebhookConfiguration"].Object, "webhooks")
	if _, found, _ := unstructured.NestedString(webhooks[0].(map[string]any), "clientConfig", "caBundle"); found {
		t.Error("got the placeholder CA bundle of a webhook, which overwrites the real one; want none")
	}
	for _, o := range objs {
		if o.GetLabels()[labelService] != "prometheus" || o.GetLabels()[labelManagedBy] != "pai" || o.GetAnnotations()[annotationRelease] == "" {
			t.Errorf("got %s with %v %v, want its service and release", kube.RefOf(o), o.GetLabels(), o.GetAnnotations())
		}
	}
}

func TestPatchesMergeListsByKey(t *testing.T) {
	patch := `apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec: {template: {spec: {containers: [{name: main, readinessProbe: {periodSeconds: 2}}]}}}
`
	objs, err := Render(t.Context(), small(t, goodDeployment, map[string]string{patchesFile: patch}), testConfig(), sources(t)[0])
	if err != nil {
		t.Fatal(err)
	}
	list := containers(objs[0])
	if len(list) != 1 || list[0]["image"] == nil || list[0]["readinessProbe"] == nil {
		t.Errorf("got containers %v, want one with its image and the probe", list)
	}
}
