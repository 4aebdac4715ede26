// Package cluster makes a Kubernetes out of machines, and moves it to newer
// versions: it carries out the machine-* and cluster-* steps of a plan.
//
// What runs on a machine are systemd units, one per role, whose programs,
// flags and configuration are in one folder per Kubernetes version; a step
// moves one role's link to another folder. kubeadm of each version makes the
// certificates and says which flags that version takes.
//
// It may not know PAI's services, jobs, or how a plan came about; it writes to
// the API through package kube only, but for the approval of kubelets'
// certificates.
package cluster
