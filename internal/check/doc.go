// Package check finds what blocks an operation and what is wrong with a cluster.
// Every check has a stable ID. All checks run in parallel, and all results are
// reported together, each with a fix.
//
// Package check reads and never changes anything. It does not import the guard,
// the executor, or output formats. What several checks observe is observed once
// per run: facts.go for machines, api.go for the cluster.
//
// To add a check, edit the file of its subject, or add one and name its list in
// All:
//   - a row in the list of the file: the ID, the title, and the operations that the
//     check runs before, or standaloneOnly; with alsoOnResume if it also runs before a
//     resumed one, and with onlyWarns if a problem blocks no operation;
//   - a function that returns results. onCluster, onAPI, onNodes, and onMachines
//     observe for it. Return an error for what could not be observed.
//
// Then test both, the results of the function and, if it matters, the operations of
// the row, in the tests of the file. Those of controlplane.go, certificates.go, and
// webhooks.go are in cluster_test.go, those of deprecated.go in definitions_test.go.
// Add a row to docs/checks.md; a test compares that document with the lists.
package check
