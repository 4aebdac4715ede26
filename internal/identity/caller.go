package identity

import "slices"

// Caller is the user who makes a request. The zero Caller is a guest.
type Caller struct {
	Name  string
	Admin bool
	// Application means that the request has an application token: it is for jobs, and
	// cannot change users, groups, and tokens.
	Application bool
	// VirtualClusters are those in which the caller can run jobs. An administrator can
	// use all.
	VirtualClusters []string
	// Storages are the storages that the caller can use. An administrator can use all.
	Storages []string
}

// Guest reports whether the request has no valid token.
func (c Caller) Guest() bool { return c.Name == "" }

// CanUse reports whether the caller can run jobs in a virtual cluster.
func (c Caller) CanUse(virtualCluster string) bool {
	return c.Admin || slices.Contains(c.VirtualClusters, virtualCluster)
}
