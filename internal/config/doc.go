// Package config is the configuration of a cluster: layout.yaml (machines),
// kubernetes-configuration.yaml, and services-configuration.yaml. It loads them,
// fills in defaults, checks, migrates, and writes them.
//
// A check has four passes and reports every mistake of a file at once: its
// limits and syntax (source.go), its shape compared with the schema (schema.go,
// shape.go), the values with defaults filled in (defaults.go), and what must be
// true between values and files (rules*.go).
//
// A migration is a list of edits. Each is made in the tree of a file (edit.go)
// and in its lines (lines.go, textedit.go), so that comments and blank lines
// stay.
//
// The package must not use machines, networks, or the Kubernetes API.
package config
