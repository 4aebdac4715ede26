// Package running reads what runs: the jobs as the API shows them, and the
// containers as the machines themselves show them.
//
// It may not know plans, releases or the guard, and changes nothing.
package running
