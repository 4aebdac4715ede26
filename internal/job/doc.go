// Package job knows what a job is: it reads the job protocol (version 2),
// makes the Kubernetes objects that run a job, and reads a job's state back
// from them.
//
// It is a function of its inputs: it may not know clocks, networks, files,
// machines, releases, or who is allowed to do what.
package job
