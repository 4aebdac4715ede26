package config

import (
	"fmt"
	"maps"
	"slices"

	"go.yaml.in/yaml/v3"
)

// Difference is one value in which two configurations differ. An empty side does
// not have it. Secrets are masked.
type Difference struct {
	Key    string `json:"key"` // "machine-list.gpu-01.sshport"
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`
}

// Diff compares the meaning of two configurations, with defaults filled in. The
// order of keys and machines, and the schema of the files, do not matter.
func Diff(before, after *Config) ([]Difference, error) {
	a, err := flat(before)
	if err != nil {
		return nil, err
	}
	b, err := flat(after)
	if err != nil {
		return nil, err
	}
	both := maps.Clone(a)
	maps.Copy(both, b)
	var list []Difference
	for _, key := range slices.Sorted(maps.Keys(both)) {
		if a[key] != b[key] {
			list = append(list, Difference{key, a[key].shown(), b[key].shown()})
		}
	}
	return list, nil
}

// value is one value of a configuration.
type value struct {
	text   string
	secret bool
}

func (v value) shown() string {
	if v.secret {
		return Secret(v.text).String()
	}
	return v.text
}

// flat lists the values of a configuration by their keys, with machines by name.
func flat(c *Config) (map[string]value, error) {
	all := map[string]value{}
	for _, part := range []any{c.Layout, kubernetesFile{c.Kubernetes}, c.Services} {
		var root yaml.Node
		if err := root.Encode(part); err != nil {
			return nil, fmt.Errorf("compare configurations: %w", err)
		}
		flatten(all, "", &root)
	}
	return all, nil
}

func flatten(all map[string]value, path string, n *yaml.Node) {
	switch n.Kind {
	case yaml.MappingNode:
		if len(n.Content) == 0 {
			all[path] = value{text: "{}"}
		}
		for i := 0; i < len(n.Content); i += 2 {
			flatten(all, join(path, n.Content[i].Value), n.Content[i+1])
		}
	case yaml.SequenceNode:
		for i, item := range n.Content {
			name := fmt.Sprint(i)
			if host := find(item, "hostname"); host != nil {
				name = host.Value
			}
			flatten(all, join(path, name), item)
		}
	default:
		_, name := parentOf(path)
		all[path] = value{n.Value, slices.Contains(secretNames(), name)}
	}
}
