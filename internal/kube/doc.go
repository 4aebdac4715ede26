// Package kube is PAI's client of the Kubernetes API and its only writer: it
// applies objects server-side under one field manager, remembers in an
// inventory what it applied, removes what is no longer wanted, and waits until
// objects are ready.
//
// It may not know machines, services, jobs, releases or the configuration:
// objects come in, and what became of them goes out.
package kube
