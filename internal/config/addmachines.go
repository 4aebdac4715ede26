package config

import (
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/yamldoc"
)

// Additions are workers that a configuration gets, and the kinds of machines that it lacks
// for them.
type Additions struct {
	Machines []Machine
	SKUs     map[string]SKU
}

// Names are the names of the machines.
func (a Additions) Names() []string {
	var names []string
	for _, m := range a.Machines {
		names = append(names, m.Hostname)
	}
	return names
}

// AddMachines adds workers behind the machines of a valid configuration, and their kinds behind
// those that it has. Every other byte stays, unless the file is in a form that cannot be edited
// in place; it is then written again with its comments. A machine that would make the
// configuration invalid is refused, and nothing is written.
func AddMachines(dir string, a Additions) error {
	name, data, err := withMachines(dir, a)
	if err != nil || len(a.Machines) == 0 {
		return err
	}
	return writeFiles(dir, map[string][]byte{name: data})
}

// CheckAddMachines returns the error that AddMachines would return before it writes.
func CheckAddMachines(dir string, a Additions) error {
	_, _, err := withMachines(dir, a)
	return err
}

// withMachines is the file with the machines of a configuration, with more of them.
func withMachines(dir string, a Additions) (name string, data []byte, err error) {
	before, err := Load(dir)
	if err != nil {
		return "", nil, err
	}
	content, problems := readFiles(dir)
	if len(problems) > 0 {
		return "", nil, problems
	}
	set := parseFiles(content)
	name, root := set.fileName(LayoutFile), set.roots[LayoutFile]
	a.Machines = slices.Clone(a.Machines)
	inherited := set.inheritedReach()
	for i := range a.Machines {
		m := &a.Machines[i]
		setDefault(&m.Role, RoleWorker)
		setDefault(&m.SSHPort, DefaultSSHPort)
		setDefault(&m.Username, DefaultUser)
		// A machine cannot be without a password that the file gives to each. With a key
		// it has no effect.
		setDefault(&m.Password, inherited.Password)
	}
	edits := additionEdits(root, inherited, a)
	for _, e := range edits {
		e.apply(root)
	}
	if data, err = editText(content[name], edits, root); err != nil {
		return "", nil, fmt.Errorf("add %s to %s: %w", strings.Join(a.Names(), ", "), filepath.Join(dir, name), err)
	}
	content[name] = data
	return name, data, onlyTheseAreMore(dir, *before, content, a)
}

// onlyTheseAreMore reads the edited files back before they replace anything.
func onlyTheseAreMore(dir string, want Config, content map[string][]byte, a Additions) error {
	names := strings.Join(a.Names(), ", ")
	got, report := check(dir, content)
	if len(report.Problems) > 0 {
		return &pai.Error{Code: pai.CodeInvalid, Message: fmt.Sprintf("with %s, the configuration in %s would be invalid", names, dir),
			Next: "change what the problems name and run the same command again; nothing was changed", Err: listed{report.Problems}}
	}
	want.Layout.MachineList = slices.Clone(want.Layout.MachineList)
	for _, m := range a.Machines {
		m.About = ""
		want.Layout.MachineList = append(want.Layout.MachineList, m)
	}
	if len(a.SKUs) > 0 {
		all := map[string]SKU{}
		maps.Copy(all, a.SKUs)
		maps.Copy(all, want.Layout.MachineSKU) // what exists stays
		want.Layout.MachineSKU = all
	}
	if !reflect.DeepEqual(*got, want) {
		return pai.Errorf(pai.CodeFailed, "add the machines to machine-list yourself, then run: paictl cluster k8s-bootup -p "+dir,
			"adding %s in %s would change other values", names, dir)
	}
	return nil
}

// inheritedReach are the properties that the file gives to each machine that does not have
// them; only files of schema 1 do.
func (f *fileSet) inheritedReach() Machine {
	var m Machine
	if defaults := find(f.roots[LayoutFile], "default-machine-properties"); f.schema == 1 && defaults != nil {
		_ = defaults.Decode(&m) // of a valid configuration
	}
	return m
}

// SharedReach is how the machines of a configuration are reached: what its default properties
// say, else what all of its machines have. What they do not share is left at its default.
func SharedReach(dir string) (Machine, error) {
	c, err := Load(dir)
	if err != nil {
		return Machine{}, err
	}
	content, problems := readFiles(dir)
	if len(problems) > 0 {
		return Machine{}, problems
	}
	inherited, shared := parseFiles(content).inheritedReach(), sharedReach(c.Layout.MachineList)
	password := c.Layout.MachineList[0].Password
	if slices.ContainsFunc(c.Layout.MachineList, func(m Machine) bool { return m.Password != password }) {
		password = ""
	}
	m := Machine{SSHPort: inherited.SSHPort, Username: inherited.Username, KeyfilePath: inherited.KeyfilePath, Password: inherited.Password}
	setDefault(&m.SSHPort, shared.SSHPort)
	setDefault(&m.SSHPort, DefaultSSHPort)
	setDefault(&m.Username, shared.Username)
	setDefault(&m.Username, DefaultUser)
	setDefault(&m.KeyfilePath, shared.KeyfilePath)
	setDefault(&m.Password, password)
	return m, nil
}

// additionEdits are the edits that add kinds and machines.
func additionEdits(root *yaml.Node, inherited Machine, a Additions) []treeEdit {
	edits := skuEdits(root, a.SKUs)
	setDefault(&inherited.SSHPort, DefaultSSHPort)
	setDefault(&inherited.Username, DefaultUser)
	list := yamldoc.Resolve(find(root, "machine-list"))
	like := yamldoc.Resolve(list.Content[len(list.Content)-1])
	for _, m := range a.Machines {
		edits = append(edits, treeEdit{kind: editAppendItem, path: "machine-list", node: machineNode(m, inherited, like)})
	}
	return edits
}

// skuEdits add kinds of machines behind those that exist, or a section before the machines.
func skuEdits(root *yaml.Node, skus map[string]SKU) []treeEdit {
	const section = "machine-sku"
	names := slices.Sorted(maps.Keys(skus))
	if len(names) == 0 {
		return nil
	}
	var edits []treeEdit
	if find(root, section) != nil {
		for _, name := range names {
			edits = append(edits, treeEdit{kind: editInsert, path: section, to: name, node: valueNode(skus[name]), after: last})
		}
		return edits
	}
	after := ""
	if at := keyIndex(root, "machine-list"); at > 0 {
		after = root.Content[at-2].Value
	}
	return []treeEdit{{kind: editInsert, to: section, node: valueNode(skus), after: after}}
}

// machineNode is the entry of a machine. It has the keys that differ from what it inherits, and
// those that another machine, like which it is written, spells out.
func machineNode(m, inherited Machine, like *yaml.Node) *yaml.Node {
	item := newMapping()
	add := func(key string, value any, needed bool) {
		if needed || keyIndex(like, key) >= 0 && !reflect.ValueOf(value).IsZero() {
			item.Content = append(item.Content, newScalar(key), valueNode(value))
		}
	}
	add("hostname", m.Hostname, true)
	add("hostip", m.HostIP, true)
	add("machine-type", m.MachineType, m.MachineType != "")
	add("sshport", m.SSHPort, m.SSHPort != inherited.SSHPort)
	add("username", m.Username, m.Username != inherited.Username)
	add("keyfile-path", m.KeyfilePath, m.KeyfilePath != inherited.KeyfilePath && m.KeyfilePath != "")
	add("password", m.Password.Reveal(), m.Password != inherited.Password)
	add("nodename", m.HostIP, false)
	add("k8s-role", m.Role, true)
	if m.About != "" {
		item.HeadComment = "# " + oneLine(m.About)
	}
	return item
}

// valueNode is a value as the files have it. Line breaks are escaped.
func valueNode(value any) *yaml.Node {
	var n yaml.Node
	_ = n.Encode(value) // texts, numbers, and structures of them: it cannot fail
	if n.Kind == yaml.ScalarNode && strings.ContainsAny(n.Value, "\n"+otherBreaks) {
		n.Style = yaml.DoubleQuotedStyle
	}
	return &n
}

// appendItem adds an item at the end of a list, with its comment, in the indentation of the
// items before it.
func (d *document) appendItem(list string, item *yaml.Node) error {
	items := find(d.root, list)
	if items == nil || items.Kind != yaml.SequenceNode || items.Style&yaml.FlowStyle != 0 || len(items.Content) == 0 {
		return errForm
	}
	_, limit, _, err := d.block(list)
	if err != nil {
		return err
	}
	column, before := items.Column-1, items.Content[len(items.Content)-1]
	start := before.Line - 1
	if first := d.lines[items.Line-1]; indentOf(first) != column || !strings.HasPrefix(first[column:], "-") {
		return errForm // the line does not start with the list
	}
	inner := 2
	if line := d.lines[start]; before.Kind == yaml.MappingNode && before.Style&yaml.FlowStyle == 0 && indentOf(line) == column {
		inner = before.Column - 1 - column
	}
	plain := *item
	plain.HeadComment = ""
	text, err := encode(&plain)
	if err != nil {
		return fmt.Errorf("write an item of %s: %w", list, err)
	}
	lines := indented(strings.Split(strings.TrimSuffix(string(text), "\n"), "\n"), inner)
	lines[0] = "-" + lines[0][1:]
	if item.HeadComment != "" {
		lines = append([]string{item.HeadComment}, lines...)
	}
	at := d.endOfItem(start, limit, column)
	d.change(at, at, indented(lines, column))
	return nil
}
