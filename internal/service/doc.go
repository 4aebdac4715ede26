// Package service is the PAI services: what service.yaml says of each, the
// order in which they start and stop, how they are rendered from their charts,
// the configuration and a release, and how they are brought into a cluster and
// out of it. services/README.md describes a service's folder.
//
// It may not know machines, nor jobs other than as something that must not
// notice it; all writing to the cluster is package kube's.
package service
