//go:build e2e

package service

import (
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"pai.dev/pai/internal/release"
)

// moduleChart is the chart of a service where the module cache has it. It asks the
// module proxy when the cache lacks the module.
func moduleChart(t *testing.T, pin release.ServicePin) fs.FS {
	t.Helper()
	module := "sigs.k8s.io/" + pin.Name + "@" + pin.Version
	cmd := exec.Command("go", "mod", "download", "-json", module)
	cmd.Dir, cmd.Stderr = t.TempDir(), os.Stderr // frozen releases have no component in the source tree
	out, err := cmd.Output()
	var found struct{ Dir string }
	if err == nil {
		err = json.Unmarshal(out, &found)
	}
	if err != nil {
		t.Fatalf("go mod download %s: %v\n%s", module, err, out)
	}
	return os.DirFS(filepath.Join(found.Dir, pin.Chart.Path))
}

// renderModules renders the services whose charts come from modules, by
// service and release.
func renderModules(t *testing.T, check func(t *testing.T, name string, src source, objs []*unstructured.Unstructured)) {
	for _, src := range sources(t) {
		for _, pin := range src.manifest.ServiceList {
			if pin.Chart == nil {
				continue
			}
			t.Run(pin.Name+"-"+string(src.manifest.Metadata.Name), func(t *testing.T) {
				s := oneService(t, src, pin.Name, moduleChart(t, pin))
				objs, err := Render(t.Context(), s, testConfig(), src)
				if err != nil {
					t.Fatal(err)
				}
				check(t, pin.Name, src, objs)
			})
		}
	}
}

func TestRenderChartsOfModules(t *testing.T) {
	renderModules(t, func(t *testing.T, name string, src source, objs []*unstructured.Unstructured) {
		checkRendered(t, name+"-"+string(src.manifest.Metadata.Name), objs)
	})
}

// Whatever else a chart brings: no webhook of it may stand between Kubernetes
// and objects that are not jobs of PAI's.
func TestWebhooksAskAboutJobsOnly(t *testing.T) {
	renderModules(t, func(t *testing.T, name string, _ source, objs []*unstructured.Unstructured) {
		seen := 0
		for _, obj := range objs {
			if !isWebhookConfiguration(obj) {
				continue
			}
			webhooks, _, _ := unstructured.NestedSlice(obj.Object, "webhooks")
			for _, w := range webhooks {
				seen++
				webhook := w.(map[string]any)
				if !narrow(webhook) {
					t.Errorf("webhook %v asks about objects in every namespace: %v", webhook["name"], webhook["rules"])
				}
			}
		}
		if seen == 0 {
			t.Error("it has no webhooks at all")
		}
	})
}

// narrow: its rules are about Kueue's or JobSet's own kinds, or selectors keep
// it to jobs.
func narrow(webhook map[string]any) bool {
	rules, _, _ := unstructured.NestedSlice(webhook, "rules")
	for _, r := range rules {
		groups, _, _ := unstructured.NestedStringSlice(r.(map[string]any), "apiGroups")
		for _, g := range groups {
			if g != "kueue.x-k8s.io" && g != "jobset.x-k8s.io" && webhook["objectSelector"] == nil {
				return false
			}
		}
	}
	return len(rules) > 0
}
