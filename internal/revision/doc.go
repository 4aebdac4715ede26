// Package revision stores the revisions of the configuration of a cluster: every
// set of files that was pushed or applied, complete, numbered from 1.
//
// Revisions are files on the control-plane machine, beside the journal, so that
// they can be read during an API outage and after a snapshot was restored. The
// API holds a mirror of them as Secrets, for readers.
//
// A revision never changes. Two operators cannot make the same one: the second
// gets a ConflictError with the other revision.
package revision
