// Package job reads jobs in job protocol v2, makes the Kubernetes objects that
// run a job, and reads the status of a job from them.
//
// It is a function of its inputs: it must not use clocks, networks, files,
// machines, or releases, and it does not check permissions.
package job
