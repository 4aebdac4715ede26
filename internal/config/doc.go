// Package config is the operator's configuration: layout.yaml (machines),
// kubernetes-configuration.yaml and services-configuration.yaml, loaded,
// given defaults, validated, and written.
//
// A file is read in four passes, so that one run finds every mistake: its
// limits and syntax (source.go), its shape against the schema (schema.go,
// shape.go), its values with defaults filled in (defaults.go), and what must
// hold between values and files (rules.go).
//
// It may not know machines other than as text, nor Kubernetes, nor a network.
package config
