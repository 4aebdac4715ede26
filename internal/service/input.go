package service

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"text/template"

	"k8s.io/apimachinery/pkg/api/resource"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/pai"
)

// input is the data of the templates of a service.
type input struct {
	Config    *config.Config
	Release   pai.ServicesVersion // of the services: "v0.10"
	Version   string              // of the service in this release: "v0.15.0"
	Namespace string

	upstream string // version of Kubernetes
	files    fs.FS
	funcs    template.FuncMap
}

func newInput(s Service, cfg *config.Config, src Source) (*input, error) {
	m := src.Manifest()
	in := &input{Config: cfg, Release: m.Services.Version, Namespace: pai.SystemNamespace, upstream: m.Kubernetes.Upstream, files: s.files}
	for _, pin := range m.ServiceList {
		if pin.Name == s.Name {
			in.Version = pin.Version
		}
	}
	if in.Version == "" {
		return nil, fmt.Errorf("release %s does not have this service", m.Metadata.Name)
	}
	image := func(name string) (string, error) {
		if ref := src.Image(name); ref != "" {
			return ref, nil
		}
		return "", fmt.Errorf("release %s has no image %q", m.Metadata.Name, name)
	}
	part := func(first bool) func(string) (string, error) {
		return func(name string) (string, error) {
			ref, err := image(name)
			i := strings.LastIndexByte(ref, ':')
			if err != nil || i < 0 {
				return "", errors.Join(err, fmt.Errorf("image %q has no tag", ref))
			}
			if first {
				return ref[:i], nil
			}
			return ref[i+1:], nil
		}
	}
	in.funcs = template.FuncMap{
		"image": image, "imageName": part(true), "imageTag": part(false),
		"json": func(v any) (string, error) {
			data, err := json.Marshal(v)
			return string(data), err
		},
		"taskCapabilities": pai.TaskCapabilities,
		"atLeast":          func(version string) bool { return pai.CompareVersions(in.Version, version) >= 0 },
		"quantity": func(v any) (string, error) {
			q, err := resource.ParseQuantity(fmt.Sprint(v))
			return strconv.Quote(q.String()), err
		},
	}
	return in, nil
}

// execute runs one template of the service; nil if the file does not exist.
func (in *input) execute(name string) ([]byte, error) {
	text, err := fs.ReadFile(in.files, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	t, err := template.New(name).Option("missingkey=error").Funcs(in.funcs).Parse(string(text))
	if err != nil {
		return nil, fmt.Errorf("parse %w", err)
	}
	var out bytes.Buffer
	if err := t.Execute(&out, in); err != nil {
		return nil, fmt.Errorf("execute %w", err)
	}
	return out.Bytes(), nil
}
