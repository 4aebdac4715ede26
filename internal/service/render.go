package service

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/loader/archive"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/release"
)

// Source is the part of a release that rendering needs, such as a
// *release.Bundle.
type Source interface {
	Manifest() release.Manifest
	// Image is the full name of an image; empty if the release has none.
	Image(name string) string
}

// The files of a service besides service.yaml.
const (
	chartDir    = "chart"
	valuesFile  = "values.yaml.tmpl"
	patchesFile = "patches.yaml.tmpl"
	objectsFile = "objects.yaml.tmpl"
)

// Render returns the objects of a service for a configuration and a release.
// The same input gives the same objects in the same order. It needs no cluster.
func Render(ctx context.Context, s Service, cfg *config.Config, src Source) ([]*unstructured.Unstructured, error) {
	objs, err := render(ctx, s, cfg, src)
	if err != nil {
		return nil, fmt.Errorf("render service %s: %w", s.Name, err)
	}
	return objs, nil
}

func render(ctx context.Context, s Service, cfg *config.Config, src Source) ([]*unstructured.Unstructured, error) {
	in, err := newInput(s, cfg, src)
	if err != nil {
		return nil, err
	}
	objs, err := renderChart(ctx, s, in)
	if err != nil {
		return nil, err
	}
	if objs, err = s.adjust(objs); err != nil {
		return nil, err
	}
	patches, err := in.decodeFile(patchesFile)
	if err != nil {
		return nil, err
	}
	if err := applyPatches(objs, patches); err != nil {
		return nil, err
	}
	own, err := in.decodeFile(objectsFile)
	if err != nil {
		return nil, err
	}
	objs = append(objs, own...)
	if len(objs) == 0 {
		return nil, errors.New("no objects: it has neither a chart nor " + objectsFile)
	}
	setOwner(objs, s.Name, in.Release)
	return objs, errors.Join(checkObjects(objs, s, src)...)
}

// renderChart renders the chart, definitions first.
func renderChart(ctx context.Context, s Service, in *input) ([]*unstructured.Unstructured, error) {
	c, err := loadChart(s.files)
	if err != nil || c == nil {
		return nil, err
	}
	values, err := in.values()
	if err != nil {
		return nil, err
	}
	capabilities, err := capabilitiesOf(in.upstream)
	if err != nil {
		return nil, err
	}
	all, err := util.ToRenderValues(c, values,
		common.ReleaseOptions{Name: s.Name, Namespace: pai.SystemNamespace, Revision: 1, IsInstall: true}, capabilities)
	if err != nil {
		return nil, fmt.Errorf("values of the chart: %w", err)
	}
	// Helm writes Release.Service to the managed-by label.
	all["Release"].(map[string]any)["Service"] = managedBy
	files, err := engine.Engine{Strict: false}.RenderWithContext(ctx, c, all)
	if err != nil {
		return nil, fmt.Errorf("chart: %w", err)
	}
	var objs []*unstructured.Unstructured
	for _, definition := range c.CRDObjects() {
		more, err := kube.Decode(definition.File.Data)
		if err != nil {
			return nil, fmt.Errorf("chart: %s: %w", definition.Filename, err)
		}
		objs = append(objs, more...)
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if path.Base(name) == "NOTES.txt" || strings.HasPrefix(path.Base(name), "_") {
			continue
		}
		more, err := kube.Decode([]byte(files[name]))
		if err != nil {
			return nil, fmt.Errorf("chart: %s: %w", name, err)
		}
		objs = append(objs, more...)
	}
	return objs, nil
}

// loadChart returns nil if the service has no chart.
func loadChart(files fs.FS) (*chart.Chart, error) {
	if _, err := fs.Stat(files, chartDir); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	root, err := fs.Sub(files, chartDir)
	if err != nil {
		return nil, fmt.Errorf("read the chart: %w", err)
	}
	var buffered []*archive.BufferedFile
	err = fs.WalkDir(root, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(root, p)
		buffered = append(buffered, &archive.BufferedFile{Name: p, Data: data})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the chart: %w", err)
	}
	c, err := loader.LoadFiles(buffered)
	if err != nil {
		return nil, fmt.Errorf("load the chart: %w", err)
	}
	return c, nil
}

func capabilitiesOf(upstream string) (*common.Capabilities, error) {
	version, err := common.ParseKubeVersion(upstream)
	if err != nil {
		return nil, fmt.Errorf("parse the Kubernetes version of the release: %w", err)
	}
	c := common.DefaultCapabilities.Copy()
	c.KubeVersion = *version
	return c, nil
}

func (in *input) values() (map[string]any, error) {
	text, err := in.execute(valuesFile)
	if err != nil {
		return nil, err
	}
	values := map[string]any{}
	if err := yaml.Unmarshal(text, &values); err != nil {
		return nil, fmt.Errorf("%s: %w", valuesFile, err)
	}
	return values, nil
}

func (in *input) decodeFile(name string) ([]*unstructured.Unstructured, error) {
	text, err := in.execute(name)
	if err != nil {
		return nil, err
	}
	objs, err := kube.Decode(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return objs, nil
}
