// Package run carries plans out: the executor does the steps of a plan side by
// side as far as they wait for nothing, the journal records what became of
// them, and the lock sees to it that one operation runs at a time.
//
// It may not know what a step does, nor Kubernetes or machines: doers, the
// guard and the store are handed to it.
package run
