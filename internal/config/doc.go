// Package config is the operator's configuration: layout.yaml (machines),
// kubernetes-configuration.yaml and services-configuration.yaml, loaded,
// given defaults and validated.
//
// It may not know machines other than as text, nor Kubernetes, nor a network.
package config
