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

// The files that only schema 1 has: its machines, and a file without effect.
const (
	ClusterFile = "cluster-configuration.yaml"
	RolesFile   = "k8s-role-definition.yaml"
)

var files = [...]string{LayoutFile, KubernetesFile, ServicesFile}

// OldestSchema and Schema are the schema versions that this package reads; it
// writes the newer unless it is asked for the older.
const (
	OldestSchema = 1
	Schema       = 2
)

// shape says what may stand at one place of a file.
type shape int

const (
	object shape = iota // a mapping with keys of the schema's choice
	table               // a mapping with names of the user's choice
	list
	text
	number
	anything // a value that nobody reads
)

// effect says what a key does today.
type effect int

const (
	active        effect = iota
	informational        // describes what PAI works out itself
	ignored              // meant something to earlier PAI; noted by check
)

// key is one key of a file: the one definition that the check, the messages,
// the editors' schema and the documents follow.
type key struct {
	name     string
	shape    shape
	required bool
	keys     []key  // of an object
	item     *key   // of a table's and a list's entries
	format   format // of one value, or of a table's names

	effect effect
	// since and until are the first and the last schema that has the key;
	// zero is from the first on, and still.
	since, until int
	secret       bool // never shown

	// What documents and editors say.
	meaning string
	unit    string
	def     string // what holds where the key is left out
	jobs    string // what a change does to running jobs
}

// format is what a value must be, besides its shape.
type format struct {
	name string // "port"
	// check returns what is wrong with a value, or nothing.
	check func(value string) string
	// schema says the same to editors, as far as JSON Schema can.
	schema map[string]any
}

func (k key) child(name string) (key, bool) {
	i := slices.IndexFunc(k.keys, func(c key) bool { return c.name == name })
	if i < 0 {
		return key{}, false
	}
	return k.keys[i], true
}

// names are those that somebody who writes a file today may have meant.
func (k key) names() []string {
	var names []string
	for _, c := range k.keys {
		if c.effect != ignored {
			names = append(names, c.name)
		}
	}
	return names
}

// in is the key as one schema version has it, with what lies below.
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

// removedKeys are keys of parts that PAI does not have any more, whatever their value.
func removedKeys(names ...string) []key {
	keys := make([]key, len(names))
	for i, n := range names {
		keys[i] = key{name: n, shape: anything, effect: ignored}
	}
	return keys
}

// schemaFor is the schema of a file; the layout of schema 1 is ClusterFile's.
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
