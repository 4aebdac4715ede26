// Package release is what PAI releases are: the support plan, each release's
// manifest, and bundles, which are built, signed, verified and opened here.
//
// It may not know machines, the Kubernetes API or a cluster's state.
package release
