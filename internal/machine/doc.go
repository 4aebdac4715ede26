// Package machine reaches machines: the Host interface, its ssh
// implementation, and local machines, which are systemd-nspawn containers on
// this host reached over that same ssh path.
//
// It may not know Kubernetes, releases or plans.
package machine
