package config

import (
	"slices"
)

// The names of the files of schema 2, in the order in which they are read.
const (
	LayoutFile     = "layout.yaml"
	KubernetesFile = "kubernetes-configuration.yaml"
	ServicesFile   = "services-configuration.yaml"
)

// The files of schema 1 only: its machines, and a file without effect.
const (
	ClusterFile = "cluster-configuration.yaml"
	RolesFile   = "k8s-role-definition.yaml"
)

var files = [...]string{LayoutFile, KubernetesFile, ServicesFile}

// OldestSchema and Schema are the schema versions that this package reads. It
// writes the newer one by default.
const (
	OldestSchema = 1
	Schema       = 2
)

// shape is the kind of value at one place of a file.
type shape int

const (
	object shape = iota // a mapping whose keys the schema names
	table               // a mapping whose keys the operator names
	list
	text
	number
	flag     // true or false
	anything // a value without effect
)

// effect is what a key does in this release.
type effect int

const (
	active        effect = iota
	informational        // describes what PAI derives itself
	ignored              // had an effect in the historical PAI; noted by a check
)

// key is one key of a file: the one definition behind the check, the messages,
// the JSON schemas, and the documents.
type key struct {
	name     string
	shape    shape
	required bool
	keys     []key  // of an object
	item     *key   // an entry of a table or a list
	format   format // of one value, or of the keys of a table

	effect effect
	// since and until are the first and the last schema with the key; zero is
	// no limit.
	since, until int
	secret       bool // never printed

	// The documentation of the key, for documents and editors.
	meaning string
	unit    string
	def     string // the value if the key is omitted
	jobs    string // the effect of a change on running jobs
}

// format is what a value must be, besides its shape.
type format struct {
	name string // "port"
	// check returns what is wrong with a value; empty if nothing is.
	check func(value string) string
	// schema is the same for editors, as far as JSON Schema can express it.
	schema map[string]any
}

func (k key) child(name string) (key, bool) {
	i := slices.IndexFunc(k.keys, func(c key) bool { return c.name == name })
	if i < 0 {
		return key{}, false
	}
	return k.keys[i], true
}

// names are those that a misspelled key can mean.
func (k key) names() []string {
	var names []string
	for _, c := range k.keys {
		if c.effect != ignored {
			names = append(names, c.name)
		}
	}
	return names
}

// in is the key in one schema version, with the keys below it.
func (k key) in(schema int) key {
	if k.item != nil {
		item := k.item.in(schema)
		k.item = &item
	}
	var keys []key
	for _, c := range k.keys {
		if c.since <= schema && (c.until == 0 || schema <= c.until) {
			keys = append(keys, c.in(schema))
		}
	}
	k.keys = keys
	return k
}

// removedKeys are keys of parts that PAI no longer has. Any value is accepted.
func removedKeys(names ...string) []key {
	keys := make([]key, len(names))
	for i, n := range names {
		keys[i] = key{name: n, shape: anything, effect: ignored}
	}
	return keys
}

// schemaFor is the schema of a file; the layout of schema 1 is ClusterFile.
func schemaFor(file string, schema int) key {
	switch file {
	case LayoutFile, ClusterFile:
		return layoutKeys().in(schema)
	case KubernetesFile:
		return kubernetesKeys().in(schema)
	default:
		return servicesKeys().in(schema)
	}
}

// kubernetesFile is kubernetes-configuration.yaml around its one section.
type kubernetesFile struct {
	Kubernetes Kubernetes `yaml:"kubernetes"`
}
