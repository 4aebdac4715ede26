// Package kube is PAI's client of the Kubernetes API. What else may write to the cluster is
// in test/deptest/writes.go, with reasons. It
// applies objects server-side under one field manager, lists them in an
// inventory, deletes unwanted objects, and waits until objects are ready.
//
// It must not import machines, services, jobs, releases, or the configuration.
package kube
