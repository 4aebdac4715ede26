package config

import (
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"

	"pai.dev/pai/internal/pai"
)

// ReplaceControlPlane takes a control-plane machine out of the machines of a valid configuration,
// and makes a worker of it a control-plane machine. Every other byte stays, unless the file is in a
// form that cannot be edited in place; it is then written again with its comments.
func ReplaceControlPlane(dir, lost, with string) error {
	before, err := Load(dir)
	if err != nil {
		return err
	}
	out := slices.IndexFunc(before.Layout.MachineList, func(m Machine) bool { return m.Hostname == lost && m.IsControlPlane() })
	next := slices.IndexFunc(before.Layout.MachineList, func(m Machine) bool { return m.Hostname == with && !m.IsControlPlane() })
	if out < 0 || next < 0 {
		return pai.Errorf(pai.CodeUsage, "to list the machines, run: paictl machine list -p "+dir, "%q is no control-plane machine of the layout, or %q is no worker of it", lost, with)
	}
	content, problems := readFiles(dir)
	if len(problems) > 0 {
		return problems
	}
	set := parseFiles(content)
	name, root := set.fileName(LayoutFile), set.roots[LayoutFile]
	edits := []treeEdit{
		{kind: editSet, path: machinePath(next, "k8s-role"), node: newScalar(RoleControlPlane)},
		{kind: editCutItem, path: "machine-list", to: strconv.Itoa(out)},
	}
	for _, e := range edits {
		e.apply(root)
	}
	data, err := editText(content[name], edits, root)
	if err != nil {
		return fmt.Errorf("replace machine %q in %s: %w", lost, filepath.Join(dir, name), err)
	}
	content[name] = data
	got, report := check(dir, content)
	if len(report.Problems) > 0 {
		return &pai.Error{Code: pai.CodeInvalid, Message: fmt.Sprintf("with %q in the place of %q, the configuration in %s would be invalid", with, lost, dir),
			Next: "change what the problems name and run the same command again; nothing was changed", Err: listed{report.Problems}}
	}
	want := *before
	want.Layout.MachineList = slices.Clone(want.Layout.MachineList)
	want.Layout.MachineList[next].Role = RoleControlPlane
	want.Layout.MachineList = slices.Delete(want.Layout.MachineList, out, out+1)
	if !reflect.DeepEqual(*got, want) {
		return pai.Errorf(pai.CodeFailed, "edit machine-list yourself and run the same command again",
			"the replacement of machine %q in %s would change other values", lost, dir)
	}
	return writeFiles(dir, map[string][]byte{name: data})
}
