// Package run runs plans. The executor runs steps in parallel if they do not
// wait for each other, the journal records their results, and the lock lets
// one operation run at a time.
//
// The package does not know what a step does and must not import packages for
// Kubernetes or machines: doers, guard, and store are passed in.
package run
