// Package nspawn makes local machines: systemd-nspawn containers on this host,
// which are reached over ssh like any other machine.
//
// A local machine is a directory in the state directory (its disk), control
// groups (its processes), and a network namespace on a bridge of that state
// directory. Nothing else is recorded about it: all that exists on the host
// carries the mark of the state directory.
package nspawn
