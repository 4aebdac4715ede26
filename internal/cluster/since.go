package cluster

import (
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/pai"
)

// sinceV011 reports whether an upstream version of Kubernetes is that of release v0.11 or a
// newer one. From then on PAI confines what runs on machines: reservations, process limits,
// units with few rights, more flags of the API server. The files of older versions stay as
// clusters have them, so whatever changes a file of a version asks this or a newer condition.
func sinceV011(upstream string) bool {
	return pai.CompareVersions(upstream, layout.OwnNetworkUserSince) >= 0
}
