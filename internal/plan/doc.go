// Package plan computes plans: the hops and steps between the observed state and
// a goal.
//
// Package plan is pure: it must not use clocks, networks, files, or the
// Kubernetes API. Machines and the cluster are data in World.
package plan
