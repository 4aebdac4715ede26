package config

import (
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"

	"go.yaml.in/yaml/v3"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/yamldoc"
)

// RemoveMachine removes one machine from the machines of a valid configuration. The comment
// right above its entry goes, too. Every other byte stays, unless the file is in a form that
// cannot be edited in place; it is then written again with its comments. Without the machine,
// nothing changes.
func RemoveMachine(dir, hostname string) error {
	name, data, err := withoutMachine(dir, hostname)
	if err != nil || name == "" {
		return err
	}
	return writeFiles(dir, map[string][]byte{name: data})
}

// CheckRemoveMachine returns the error that RemoveMachine would return before it writes.
func CheckRemoveMachine(dir, hostname string) error {
	_, _, err := withoutMachine(dir, hostname)
	return err
}

// withoutMachine is the file with the machines of a configuration, without one machine. The
// name is empty if the machine is not there.
func withoutMachine(dir, hostname string) (name string, data []byte, err error) {
	before, err := Load(dir)
	if err != nil {
		return "", nil, err
	}
	at := slices.IndexFunc(before.Layout.MachineList, func(m Machine) bool { return m.Hostname == hostname })
	if at < 0 {
		return "", nil, nil
	}
	content, problems := readFiles(dir)
	if len(problems) > 0 {
		return "", nil, problems
	}
	set := parseFiles(content)
	name, root := set.fileName(LayoutFile), set.roots[LayoutFile]
	edit := treeEdit{kind: editCutItem, path: "machine-list", to: strconv.Itoa(at)}
	edit.apply(root)
	if data, err = editText(content[name], []treeEdit{edit}, root); err != nil {
		return "", nil, fmt.Errorf("remove machine %q from %s: %w", hostname, filepath.Join(dir, name), err)
	}
	content[name] = data
	return name, data, onlyMachineIsLess(dir, *before, content, at)
}

// onlyMachineIsLess reads the edited files back before they replace anything.
func onlyMachineIsLess(dir string, want Config, content map[string][]byte, at int) error {
	hostname := want.Layout.MachineList[at].Hostname
	got, report := check(dir, content)
	if len(report.Problems) > 0 {
		return &pai.Error{Code: pai.CodeInvalid, Message: fmt.Sprintf("without machine %q, the configuration in %s would be invalid", hostname, dir),
			Next: "change what the problems name, apply it, and run the same command again; for the quotas of virtual clusters, run: paictl service refresh kueue", Err: listed{report.Problems}}
	}
	want.Layout.MachineList = slices.Delete(slices.Clone(want.Layout.MachineList), at, at+1)
	if !reflect.DeepEqual(*got, want) {
		return pai.Errorf(pai.CodeFailed, "remove its entry from machine-list yourself and run the same command again",
			"the removal of machine %q in %s would change other values", hostname, dir)
	}
	return nil
}

// cutItem removes an item of a list.
func cutItem(root *yaml.Node, list string, at int) {
	items := yamldoc.Resolve(find(root, list))
	keepAnchors(root, items.Content[at])
	items.Content = slices.Delete(items.Content, at, at+1)
}

// cutItem removes an item of a list with the comment right above it.
func (d *document) cutItem(list string, at int) error {
	items := find(d.root, list)
	if items == nil || items.Kind != yaml.SequenceNode || items.Style&yaml.FlowStyle != 0 || at >= len(items.Content) {
		return errForm
	}
	_, limit, _, err := d.block(list)
	if err != nil {
		return err
	}
	start := items.Content[at].Line - 1
	column := indentOf(d.lines[start])
	if items.Column-1 != column || len(d.lines[start]) == column || d.lines[start][column] != '-' {
		return errForm // the line does not start with the item
	}
	if at+1 < len(items.Content) {
		limit = items.Content[at+1].Line - 1
	}
	d.remove(d.aboveComment(start, column), d.endOfItem(start, limit, column))
	return nil
}

// endOfItem is the end of an item that starts on a line and ends before another one. Blank
// lines, and comments no deeper than the item, do not belong to it.
func (d *document) endOfItem(start, limit, column int) int {
	end := limit
	for end > start+1 && (isBlank(d.lines[end-1]) || isComment(d.lines[end-1]) && indentOf(d.lines[end-1]) <= column) {
		end--
	}
	return end
}
