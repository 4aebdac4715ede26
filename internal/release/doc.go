// Package release has the releases of PAI: the support plan, the manifest of
// each release, and bundles. It builds, signs, verifies, and opens bundles.
//
// It must not import machines, the Kubernetes API, or the state of a cluster.
package release
