// Package chaos puts faults into upgrades of real local clusters, one at a
// time, and finds out whether the same command, given again, ends in the state
// that an undisturbed upgrade ends in, with every job's containers untouched.
//
// It knows PAI as its operator does, through paictl alone: it reads the events
// that `upgrade apply -o json` prints and kills the process, or changes the
// machine from the host underneath. No code of PAI depends on it.
package chaos
