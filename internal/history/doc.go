// Package history keeps jobs after they have left the cluster: what each was, how it
// ran, and how it ended. The database is SQLite or PostgreSQL; the same tests run on
// both.
//
// The cluster decides about the jobs that it has. What is recorded of them is a copy,
// and fills in what Kubernetes deletes: earlier attempts and old events. A database
// that is unreachable, empty, or older than the cluster therefore stops no job.
package history
