package main

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"pai.dev/pai/internal/kube"
)

// The charts of helm are the same objects, also those that have templates in them.
func TestChartHasTheObjects(t *testing.T) {
	t.Parallel()
	objs := []*unstructured.Unstructured{
		{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "alerts"},
			"data": map[string]any{"rules": "summary: '{{ $labels.instance }} of {{{x}}}'\n"}}},
		{Object: map[string]any{"apiVersion": "v1", "kind": "Service", "metadata": map[string]any{"name": "other"}}},
	}
	dir := filepath.Join(t.TempDir(), "chart")
	if err := writeChart(dir, chartOf{"alerts", objs}); err != nil {
		t.Fatal(err)
	}
	c, err := loader.LoadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	values, err := util.ToRenderValues(c, nil, common.ReleaseOptions{Name: "alerts"}, common.DefaultCapabilities)
	if err != nil {
		t.Fatal(err)
	}
	files, err := engine.Engine{}.RenderWithContext(t.Context(), c, values)
	if err != nil {
		t.Fatal(err)
	}
	var got []*unstructured.Unstructured
	for _, text := range files {
		more, err := kube.Decode([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, more...)
	}
	if !reflect.DeepEqual(got, objs) {
		t.Errorf("got %v, want %v", got, objs)
	}
	if entries, err := os.ReadDir(filepath.Join(dir, "templates")); err != nil || len(entries) != 1 {
		t.Errorf("got %v, %v, want one template", entries, err)
	}
}
