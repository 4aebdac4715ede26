// Package cluster runs Kubernetes on machines: it has the doers of the machine-*
// and cluster-* steps of a plan.
//
// Kubernetes components are systemd units, one per role. Their programs, flags,
// and configuration are in one directory per Kubernetes version, and a step moves
// the link of one role to another directory. The kubeadm of each version creates
// the certificates and prints the flags of that version.
//
// The package must not import PAI services or jobs, and does not know how a plan
// was made. It writes to the API only through package kube.
package cluster
