package config

import (
	"bytes"
	"cmp"
	"fmt"
	"path/filepath"
	"reflect"

	"go.yaml.in/yaml/v3"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/yamldoc"
)

// SetVersions changes the two values that name versions,
// cluster.common.release and kubernetes.version, in the files of a valid
// configuration. It changes no other byte: comments, order, and anchors stay. An
// empty version in the pair leaves that value alone.
func SetVersions(dir string, pair pai.Pair) error {
	before, err := Load(dir)
	if err != nil {
		return err
	}
	content, problems := readFiles(dir)
	if len(problems) > 0 {
		return problems
	}
	changed := map[string][]byte{}
	for _, set := range []struct {
		file, path, to string
	}{
		{KubernetesFile, "kubernetes.version", string(pair.Kubernetes)},
		{ServicesFile, "cluster.common.release", string(pair.Services)},
	} {
		if set.to == "" {
			continue
		}
		data, err := setScalar(content[set.file], set.path, set.to)
		if err != nil {
			return fmt.Errorf("set %s in %s: %w", set.path, filepath.Join(dir, set.file), err)
		}
		if !bytes.Equal(data, content[set.file]) {
			content[set.file], changed[set.file] = data, data
		}
	}
	if err := onlyVersionsDiffer(dir, *before, content, pair); err != nil {
		return err
	}
	return writeFiles(dir, changed)
}

// onlyVersionsDiffer reads the edited files back before they replace anything.
func onlyVersionsDiffer(dir string, want Config, content map[string][]byte, pair pai.Pair) error {
	got, report := check(dir, content)
	if len(report.Problems) > 0 {
		return &pai.Error{Code: pai.CodeInvalid, Message: "the versions do not fit the configuration", Err: listed{report.Problems}}
	}
	want.Kubernetes.Version = cmp.Or(pair.Kubernetes, want.Kubernetes.Version)
	release := &want.Services.Cluster.Common.Release
	*release = cmp.Or(pai.Release(pair.Services), *release)
	if !reflect.DeepEqual(*got, want) {
		return pai.Errorf(pai.CodeFailed, "set kubernetes.version and cluster.common.release yourself: another value shares their anchor",
			"setting the versions in %s would change other values", dir)
	}
	return nil
}

// setScalar replaces the value at a path of a YAML file.
func setScalar(data []byte, path, to string) ([]byte, error) {
	n, problems := parse(data)
	if n == nil {
		return nil, problems
	}
	for _, name := range splitPath(path) {
		if n = fieldOf(n, name); n == nil {
			return nil, fmt.Errorf("%s is missing", name)
		}
	}
	return replaceScalar(data, n, to)
}

// fieldOf is the value of a key, its own or a merged one; nil without the key.
func fieldOf(mapping *yaml.Node, name string) *yaml.Node {
	for _, f := range yamldoc.Fields(yamldoc.Resolve(mapping), nil, "") {
		if f.Key.Value == name {
			return f.Value
		}
	}
	return nil
}
