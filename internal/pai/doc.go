// Package pai is the vocabulary of PAI as Go types: versions, risks, jobs,
// errors, and the record of an operation.
//
// It imports only the standard library, and uses no files, networks, clocks,
// machines, or Kubernetes.
package pai
