// Package running observes what runs: the jobs in the API, and the containers on
// the machines. It changes nothing, and must not import plans, releases, or the
// guard.
package running
