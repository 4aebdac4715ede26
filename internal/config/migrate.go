package config

import (
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/yamldoc"
)

// A migration leads from one schema version to the next. It is pure: it takes
// trees, and returns what it does to them as edits. Its steps skip files that
// have the schema already.
type migration struct {
	to    int
	steps []func(*editor)
}

// migrations are all that exist, oldest first.
func migrations() []migration {
	return []migration{
		{to: 2, steps: []func(*editor){(*editor).moveRenamedKeys, (*editor).spellOutMachines, (*editor).addURLs}},
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

// secretNames are the keys whose values are never shown, in any file.
func secretNames() []string {
	return []string{"password", "docker-password", "smtp_auth_password", "smtp-auth-password", "bearer-token", "pai-bearer-token", "url"}
}

// machineList is the content of machine-list, aliases followed.
func (e *editor) machineList() []*yaml.Node {
	list := e.find(LayoutFile, "machine-list")
	if list == nil || yamldoc.Resolve(list).Kind != yaml.SequenceNode {
		return nil
	}
	var machines []*yaml.Node
	for _, m := range yamldoc.Resolve(list).Content {
		machines = append(machines, yamldoc.Resolve(m))
	}
	return machines
}

// spellOutMachines gives each machine the properties that it inherited, and
// nodename.
func (e *editor) spellOutMachines() {
	if !e.older(LayoutFile, 2) {
		return
	}
	const from = "default-machine-properties"
	var inherited []yamldoc.Field
	if d := e.find(LayoutFile, from); d != nil {
		inherited = yamldoc.Fields(yamldoc.Resolve(d), nil, "")
	}
	for i, m := range e.machineList() {
		if m.Kind != yaml.MappingNode {
			continue
		}
		path := fmt.Sprintf("machine-list[%d]", i)
		after := "hostip"
		for _, f := range inherited {
			e.insert(LayoutFile, path, f.Key.Value, plainCopy(f.Value), after, Edit{Kind: Defaulted, Why: "from " + from}, f.Key)
			after = f.Key.Value
		}
		if ip := find(m, "hostip"); ip != nil && yamldoc.Resolve(ip).Kind == yaml.ScalarNode && keyIndex(m, "nodename") < 0 {
			e.insertOwn(LayoutFile, path, "nodename", plainCopy(ip), after, Edit{Kind: Defaulted, Why: "its hostip"}, ip)
		}
	}
	e.drop(LayoutFile, from, "each machine has its own properties now")
}

// addURLs adds the addresses of the API and of the dashboard.
func (e *editor) addURLs() {
	if !e.older(LayoutFile, 2) {
		return
	}
	// first is the hostip of the first machine with a value of a key.
	first := func(key, value string) string {
		for _, m := range e.machineList() {
			if ip := plain(find(m, "hostip")); ip != "" && plain(find(m, key)) == value {
				return ip
			}
		}
		return ""
	}
	part := func(key, otherwise string) string {
		if v := plain(e.find(KubernetesFile, "kubernetes."+key)); v != "" {
			return v
		}
		return otherwise
	}
	urls := newMapping()
	var values []string
	add := func(key, url string) {
		urls.Content = append(urls.Content, newScalar(key), newScalar(url))
		values = append(values, key+" "+url)
	}
	if host := part("load-balance-ip", first("k8s-role", RoleControlPlane)); host != "" {
		add("api-servers-url", part("api-servers-http-schema", "https")+"://"+host+":"+part("api-servers-port", strconv.Itoa(DefaultAPIPort)))
	}
	if host := first("dashboard", "true"); host != "" {
		add("dashboard-url", "http://"+host+":9090")
	}
	if len(values) == 0 {
		return
	}
	after := ""
	if e.key(LayoutFile, "schema-version") != nil {
		after = "schema-version"
	}
	e.insert(LayoutFile, "", "kubernetes", urls, after,
		Edit{Kind: Defaulted, Value: strings.Join(values, ", "), Why: "from load-balance-ip, the k8s-role and the dashboard of machines"}, e.trees[LayoutFile])
}

// nameVersions sets the two keys that name versions, and adds the first key of
// trusted bundles.
func (e *editor) nameVersions(target MigrationTarget) {
	e.nameVersion(KubernetesFile, "kubernetes", "version", string(target.Pair.Kubernetes))
	e.nameVersion(ServicesFile, "cluster.common", "release", string(target.Pair.Services))
	if target.TrustedKey == "" || e.trees[ServicesFile] == nil {
		return
	}
	keys := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Content: []*yaml.Node{newScalar(target.TrustedKey)}}
	e.insertSection(ServicesFile, "cluster.common", "trusted-bundle-keys", keys, Edit{Kind: Defaulted, Value: target.TrustedKey, Why: "the key of this host"})
}

// nameVersion raises a version, and never lowers it.
func (e *editor) nameVersion(file, section, name, to string) {
	if to == "" || e.trees[file] == nil {
		return
	}
	path := join(section, name)
	current := e.find(file, path)
	if current == nil || yamldoc.Resolve(current).ShortTag() == "!!null" {
		e.insertSection(file, section, name, newScalar(to), Edit{Kind: Set})
		return
	}
	if old := plain(current); pai.CheckVersion(old) == nil && pai.CompareVersions(old, to) >= 0 || yamldoc.Resolve(current).Kind != yaml.ScalarNode {
		return
	}
	e.set(file, path, newScalar(to))
}

// nameSchema makes every file name its schema version.
func (e *editor) nameSchema(to int) {
	for _, name := range files {
		root := e.trees[name]
		if root == nil {
			continue
		}
		const key = "schema-version"
		current := find(root, key)
		if current == nil {
			e.insert(name, "", key, newNumber(to), "", Edit{Kind: Set}, root)
		} else if n, err := strconv.Atoi(plain(current)); err == nil && n < to {
			e.set(name, key, newNumber(to))
		}
	}
}
