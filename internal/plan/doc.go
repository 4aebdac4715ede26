// Package plan decides what has to be done: from a goal, the observed world,
// the configuration and the releases it makes a Plan, which is data.
//
// It is pure: it may not know a clock, a network, a file, Kubernetes or a
// machine other than as data in World.
package plan
