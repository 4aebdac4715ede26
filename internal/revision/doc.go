// Package revision keeps the revisions of a cluster's configuration: every
// set of files that was pushed or applied, each whole, numbered from 1.
//
// They are files on the control-plane machine, beside the journal, so that
// they are there while the API is away and after a snapshot was restored. The
// API holds a mirror of them as Secrets, for readers.
//
// A revision is never changed. Two operators cannot make the same one: whoever
// comes second is told so, and what the other changed.
package revision
