package config

import (
	"bytes"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/yamldoc"
)

// SetVersions changes the two values that name versions,
// cluster.common.release and kubernetes.version, in the files of a valid
// configuration, and not one other byte: comments, order and anchors stay. An
// empty version in the pair leaves that value alone.
func SetVersions(dir string, pair pai.Pair) error {
	before, err := Load(dir)
	if err != nil {
		return err
	}
	content, missing := readFiles(dir)
	if len(missing) > 0 {
		return missing
	}
	changed := map[string][]byte{}
	for _, edit := range []struct {
		file string
		path []string
		to   pai.Version
	}{
		{KubernetesFile, []string{"kubernetes", "version"}, pair.Kubernetes},
		{ServicesFile, []string{"cluster", "common", "release"}, pair.Services},
	} {
		if edit.to == "" {
			continue
		}
		data, err := setScalar(content[edit.file], edit.path, string(edit.to))
		if err != nil {
			return fmt.Errorf("set %s in %s: %w", strings.Join(edit.path, "."), filepath.Join(dir, edit.file), err)
		}
		if !bytes.Equal(data, content[edit.file]) {
			content[edit.file], changed[edit.file] = data, data
		}
	}
	if err := onlyVersionsDiffer(dir, *before, content, pair); err != nil {
		return err
	}
	return replace(dir, changed, modesIn(dir))
}

// onlyVersionsDiffer reads the edited files back before they replace anything.
func onlyVersionsDiffer(dir string, want Config, content map[string][]byte, pair pai.Pair) error {
	got, report := check(dir, content)
	if len(report.Problems) > 0 {
		return &pai.Error{Code: pai.CodeInvalid, Message: "the versions do not fit the configuration", Err: listed{report.Problems}}
	}
	setIf := func(v *pai.Version, to pai.Version) {
		if to != "" {
			*v = to
		}
	}
	setIf(&want.Kubernetes.Version, pair.Kubernetes)
	setIf(&want.Services.Cluster.Common.Release, pair.Services)
	if !reflect.DeepEqual(*got, want) {
		return pai.Errorf(pai.CodeFailed, "set kubernetes.version and cluster.common.release yourself: another value hangs on the same anchor",
			"setting the versions in %s would change something else", dir)
	}
	return nil
}

// setScalar replaces the value at a path of a YAML file, keeping its quotes
// and everything around it.
func setScalar(data []byte, path []string, to string) ([]byte, error) {
	n, problems := parse(data)
	if n == nil {
		return nil, problems
	}
	for _, name := range path {
		if n = valueOf(n, name); n == nil {
			return nil, fmt.Errorf("%s is missing", name)
		}
	}
	start, err := offsetOf(data, n)
	if err != nil {
		return nil, err
	}
	old := n.Value
	switch {
	case n.Kind == yaml.AliasNode:
		old = "*" + n.Value
	case n.Kind != yaml.ScalarNode:
		return nil, fmt.Errorf("line %d: not a plain value", n.Line)
	default:
		start += skipProperties(data[start:])
		if n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0 {
			start++
		}
	}
	if !bytes.HasPrefix(data[start:], []byte(old)) {
		return nil, fmt.Errorf("line %d: the value is written in a form that cannot be changed in place; write it plainly", n.Line)
	}
	return bytes.Join([][]byte{data[:start], data[start+len(old):]}, []byte(to)), nil
}

func valueOf(mapping *yaml.Node, name string) *yaml.Node {
	for _, f := range yamldoc.Fields(yamldoc.Resolve(mapping), nil, "") {
		if f.Key.Value == name {
			return f.Value
		}
	}
	return nil
}

// offsetOf turns a node's line and column, which counts characters, into a
// place in the bytes.
func offsetOf(data []byte, n *yaml.Node) (int, error) {
	offset := 0
	for line := 1; line < n.Line; line++ {
		next := bytes.IndexByte(data[offset:], '\n')
		if next < 0 {
			return 0, fmt.Errorf("line %d: not found", n.Line)
		}
		offset += next + 1
	}
	column := 0
	for i := range string(data[offset:]) {
		if column++; column == n.Column {
			return offset + i, nil
		}
	}
	return 0, fmt.Errorf("line %d: not found", n.Line)
}

// skipProperties is the length of an anchor and a tag in front of a value.
func skipProperties(text []byte) int {
	rest := text
	for len(rest) > 0 && (rest[0] == '&' || rest[0] == '!') {
		end := bytes.IndexAny(rest, " \t\n")
		if end < 0 {
			break
		}
		rest = bytes.TrimLeft(rest[end:], " \t\n")
	}
	return len(text) - len(rest)
}
