// Package pai is the vocabulary of PAI as Go types: versions, risks, jobs,
// errors, and the record of an operation.
//
// It imports the standard library only, and knows nothing of files, networks,
// clocks, machines or Kubernetes.
package pai
