package config

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"pai.dev/pai/internal/yamldoc"
)

// A migration leads from one schema version to the next. It is pure: it sees
// trees, and says what it does to them as edits. Its steps look only at files
// that are older than to.
type migration struct {
	to    int
	steps []func(*editor)
}

// migrations are all there are, oldest first.
func migrations() []migration {
	return []migration{
		{to: 2, steps: []func(*editor){(*editor).moveRenamedKeys, (*editor).spellOut, (*editor).urls}},
	}
}

// migrate brings every file to a schema version.
func (e *editor) migrate(to int) {
	for _, m := range migrations() {
		if m.to <= to {
			for _, step := range m.steps {
				step(e)
			}
		}
	}
}

// editor applies edits to trees and remembers them. Files are named as in the
// newest schema; the machines are always LayoutFile's.
type editor struct {
	trees map[string]*yaml.Node
	// schemas is that of each file: a migration leaves alone what is newer.
	schemas map[string]int
	edits   map[string][]treeEdit
	changes []Edit
}

// newEditor works on copies.
func newEditor(f *fileSet) *editor {
	e := &editor{trees: map[string]*yaml.Node{}, schemas: map[string]int{}, edits: map[string][]treeEdit{}}
	for name, root := range f.roots {
		e.trees[name], e.schemas[name] = clone(root), f.schemaOf(name)
	}
	if !f.namesSchema(ServicesFile) {
		e.schemas[ServicesFile] = OldestSchema // both releases read either spelling
	}
	return e
}

// older reports whether a file is there and of an older schema than one.
func (e *editor) older(file string, schema int) bool {
	return e.trees[file] != nil && e.schemas[file] < schema
}

func (e *editor) find(file, path string) *yaml.Node {
	if e.trees[file] == nil {
		return nil
	}
	return find(e.trees[file], path)
}

// key is the node of a mapping's own key.
func (e *editor) key(file, path string) *yaml.Node {
	parentPath, name := parentOf(path)
	parent := e.find(file, parentPath)
	if parent == nil {
		return nil
	}
	parent = yamldoc.Resolve(parent)
	if i := keyIndex(parent, name); i >= 0 {
		return parent.Content[i]
	}
	return nil
}

func (e *editor) do(file string, at *yaml.Node, c Edit, ed treeEdit) {
	c.File, c.Line, c.Column = file, max(at.Line, 1), max(at.Column, 1)
	e.changes = append(e.changes, c)
	e.edits[file] = append(e.edits[file], ed)
	ed.apply(e.trees[file])
}

// relocate renames or moves a key. Where the new one is there already, a
// section is merged into it; of two values the new key's wins.
func (e *editor) relocate(file, from, to string) {
	k := e.key(file, from)
	if k == nil || !e.canInsert(file, to) {
		return
	}
	if e.key(file, to) != nil {
		e.merge(file, from, to)
		return
	}
	fromParent, _ := parentOf(from)
	toParent, name := parentOf(to)
	if fromParent == toParent {
		e.do(file, k, Edit{Kind: Renamed, From: from, To: to}, treeEdit{kind: editRename, path: from, to: name})
		return
	}
	e.do(file, k, Edit{Kind: Moved, From: from, To: to}, treeEdit{kind: editMove, path: from, to: to})
}

func (e *editor) merge(file, from, to string) {
	older, newer := e.find(file, from), yamldoc.Resolve(e.find(file, to))
	if older.Kind != yaml.MappingNode || newer.Kind != yaml.MappingNode {
		e.drop(file, from, to+" is there, and wins")
		return
	}
	var names []string
	for i := 0; i < len(older.Content); i += 2 {
		names = append(names, older.Content[i].Value)
	}
	for _, name := range names {
		e.relocate(file, join(from, name), join(to, name))
	}
	e.drop(file, from, "all of it is in "+to)
}

// room reports whether a key can be put at a path: what is there around it is
// a mapping, or nothing.
func (e *editor) canInsert(file, path string) bool {
	for parent, _ := parentOf(path); ; parent, _ = parentOf(parent) {
		n := e.find(file, parent)
		if n != nil {
			n = yamldoc.Resolve(n)
			return n.Kind == yaml.MappingNode || n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null"
		}
		if parent == "" {
			return false
		}
	}
}

func (e *editor) drop(file, path, why string) {
	if k := e.key(file, path); k != nil {
		e.do(file, k, Edit{Kind: Dropped, From: path, Why: why}, treeEdit{kind: editDrop, path: path})
	}
}

// insert adds a key to a mapping that is there, unless it has it already.
func (e *editor) insert(file, mapping, name string, value *yaml.Node, after string, c Edit, at *yaml.Node) {
	if m := e.find(file, mapping); m != nil && !hasKey(yamldoc.Resolve(m), name) {
		e.insertOwn(file, mapping, name, value, after, c, at)
	}
}

// insertOwn is insert where what is merged into the mapping does not count.
func (e *editor) insertOwn(file, mapping, name string, value *yaml.Node, after string, c Edit, at *yaml.Node) {
	if !e.canInsert(file, join(mapping, name)) {
		return
	}
	if c.To == "" {
		c.To = join(mapping, name)
	}
	if value.Kind == yaml.ScalarNode && !slices.Contains(secretNames(), name) {
		c.Value = value.Value
	}
	e.do(file, at, c, treeEdit{kind: editInsert, path: mapping, to: name, node: value, after: after})
}

// hasKey sees merged keys as well as a mapping's own.
func hasKey(mapping *yaml.Node, name string) bool {
	return mapping.Kind == yaml.MappingNode && slices.ContainsFunc(yamldoc.Fields(mapping, nil, ""), func(f yamldoc.Field) bool { return f.Key.Value == name })
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func secretNames() []string { return []string{"password", "docker-password", "smtp_auth_password"} }

// spellOut gives each machine the properties that it inherited, and nodename.
func (e *editor) spellOut() {
	if !e.older(LayoutFile, 2) {
		return
	}
	const from = "default-machine-properties"
	var inherited []yamldoc.Field
	if d := e.find(LayoutFile, from); d != nil && yamldoc.Resolve(d).Kind == yaml.MappingNode {
		inherited = yamldoc.Fields(yamldoc.Resolve(d), nil, "")
	}
	machines := e.find(LayoutFile, "machine-list")
	if machines != nil && yamldoc.Resolve(machines).Kind == yaml.SequenceNode {
		for i, m := range yamldoc.Resolve(machines).Content {
			if m = yamldoc.Resolve(m); m.Kind != yaml.MappingNode {
				continue
			}
			path := fmt.Sprintf("machine-list[%d]", i)
			after := "hostip"
			for _, f := range inherited {
				e.insert(LayoutFile, path, f.Key.Value, plainCopy(f.Value), after,
					Edit{Kind: Defaulted, Why: "from " + from}, f.Key)
				after = f.Key.Value
			}
			if ip := find(m, "hostip"); ip != nil && yamldoc.Resolve(ip).Kind == yaml.ScalarNode && keyIndex(m, "nodename") < 0 {
				e.insertOwn(LayoutFile, path, "nodename", plainCopy(ip), after, Edit{Kind: Defaulted, Why: "its hostip"}, ip)
			}
		}
	}
	e.drop(LayoutFile, from, "each machine has them itself now")
}

// urls puts the API's and the dashboard's addresses together.
func (e *editor) urls() {
	if !e.older(LayoutFile, 2) {
		return
	}
	var master, dashboard string
	if machines := e.find(LayoutFile, "machine-list"); machines != nil {
		for _, m := range yamldoc.Resolve(machines).Content {
			ip := plain(find(m, "hostip"))
			if plain(find(m, "k8s-role")) == RoleControlPlane && master == "" {
				master = ip
			}
			if plain(find(m, "dashboard")) == "true" && dashboard == "" {
				dashboard = ip
			}
		}
	}
	part := func(key, otherwise string) string {
		if v := plain(e.find(KubernetesFile, "kubernetes."+key)); v != "" {
			return v
		}
		return otherwise
	}
	section := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	if host := part("load-balance-ip", master); host != "" {
		url := part("api-servers-http-schema", "https") + "://" + host + ":" + part("api-servers-port", fmt.Sprint(DefaultAPIPort))
		section.Content = append(section.Content, newScalar("api-servers-url"), newScalar(url))
	}
	if dashboard != "" {
		section.Content = append(section.Content, newScalar("dashboard-url"), newScalar("http://"+dashboard+":9090"))
	}
	var values []string
	for i := 0; i < len(section.Content); i += 2 {
		values = append(values, section.Content[i].Value+" "+section.Content[i+1].Value)
	}
	after := ""
	if e.key(LayoutFile, "schema-version") != nil {
		after = "schema-version"
	}
	if len(values) > 0 {
		e.insert(LayoutFile, "", "kubernetes", section, after,
			Edit{Kind: Defaulted, Value: strings.Join(values, ", "), Why: "from load-balance-ip, master and dashboard"}, e.trees[LayoutFile])
	}
}

// plain is the text of a plain value on one line; empty otherwise.
func plain(n *yaml.Node) string {
	if n == nil {
		return ""
	}
	if n = yamldoc.Resolve(n); n.Kind != yaml.ScalarNode || n.ShortTag() == "!!null" || strings.ContainsAny(n.Value, "\n\x00") {
		return ""
	}
	return n.Value
}
