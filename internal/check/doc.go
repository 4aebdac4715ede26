// Package check looks for what stands in the way of an operation, and for what
// is wrong with a cluster: every check has a stable name, all run side by side,
// and all that they find is reported at once, each with what to do about it.
//
// It reads and never changes anything. It may not know plans' steps beyond
// their data, the guard, the executor, or output formats.
package check
