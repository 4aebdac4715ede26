// Package machine reaches machines over ssh: the Host interface and its
// implementation.
//
// A Host runs a command by giving a script to /bin/sh with remote.sh around
// it, which ends the script when the connection ends. Files are read and
// written by small scripts.
//
// It must not import Kubernetes packages, releases or plans.
package machine
