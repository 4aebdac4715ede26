// Package machine reaches machines: the Host interface, its ssh
// implementation, and local machines, which are systemd-nspawn containers on
// this host reached over that same ssh path.
//
// A Host runs a command by giving a script to /bin/sh with remote.sh around
// it, which ends the script when the connection ends; files are small scripts
// on top of that. A local machine is a folder in the state folder (its disk),
// control groups (its processes), and a network namespace on a bridge of the
// state folder's own. Nothing else is remembered of it: all that exists on
// the host carries the state folder's mark.
//
// It may not know Kubernetes, releases or plans.
package machine
