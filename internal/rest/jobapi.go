package rest

import (
	"context"
	"io"
	"time"

	"pai.dev/pai/internal/identity"
	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/pai"
)

// JobAPI is the interface for users who run jobs. Errors are *pai.Error; the
// error for an invalid job wraps job.Problems. Core needs the caller in the
// context (WithCaller); Client sends its token.
type JobAPI interface {
	// Submit accepts a job atomically.
	Submit(ctx context.Context, s Submission) (Submitted, error)
	// Preview returns what Submit would accept, or the error that it would return,
	// and creates nothing.
	Preview(ctx context.Context, s Submission) (Previewed, error)
	// List returns the jobs that the caller can see, oldest first.
	List(ctx context.Context, f Filter) ([]job.Status, error)
	// Get returns one job; the error is CodeNotFound if it does not exist.
	Get(ctx context.Context, id JobID) (job.Status, error)
	// Protocol returns a job as it was submitted.
	Protocol(ctx context.Context, id JobID) ([]byte, error)
	// Operations returns the operations on the cluster during which a job ran, oldest
	// first, as far as their reports are still published.
	Operations(ctx context.Context, id JobID) ([]JobOperation, error)
	// Stop asks a job to stop and returns before it has stopped. To stop a job
	// again is not an error; to stop a job that has ended is CodeRefused.
	Stop(ctx context.Context, id JobID) error
	// Logs returns the output of a task. The caller closes it.
	Logs(ctx context.Context, id JobID, o LogOptions) (io.ReadCloser, error)
}

// JobID names a job: its user and its name.
type JobID struct {
	User string
	Name string
}

func (id JobID) String() string { return id.User + "~" + id.Name }

// Submission is a job to run.
type Submission struct {
	Protocol []byte // job protocol v2, YAML
	// VirtualCluster overrides the virtual cluster of the protocol, if not empty.
	VirtualCluster string
}

// Submitted is an accepted job.
type Submitted struct {
	pai.JobRef
	ID string `json:"id"` // user~name
	// Warnings name settings of the job that have no effect.
	Warnings []job.Problem `json:"warnings,omitempty"`
}

// Previewed is a job that would be accepted.
type Previewed struct {
	job.Preview
	ID string `json:"id"` // user~name
	// Warnings name settings of the job that have no effect.
	Warnings []job.Problem `json:"warnings,omitempty"`
}

// Filter selects jobs; an empty field selects all.
type Filter struct {
	User           string
	VirtualCluster string
	State          job.State
	// Offset and Limit select a page, which counts from the newest job; no limit is all.
	Offset, Limit int
	// Incomplete, if it is not nil, is called with the reason if jobs that left the
	// cluster are missing.
	Incomplete func(why string)
}

func (f Filter) matches(s job.Status) bool {
	return (f.User == "" || f.User == s.User) &&
		(f.VirtualCluster == "" || f.VirtualCluster == s.VirtualCluster) &&
		(f.State == "" || f.State == s.State)
}

// LogOptions select output.
type LogOptions struct {
	TaskRole string // empty: the first one
	Index    int
	// Attempt is which attempt of the task, counted from 0; nil is the newest one.
	Attempt *int
	Follow  bool // until the task has ended
	// Tail is the number of last lines; 0 means all.
	Tail int64
	// Timestamps puts the time (RFC 3339, nanoseconds) and a space before each line.
	Timestamps bool
	// Since skips the output before that second.
	Since time.Time
	// Missing, if it is not nil, is called with a sentence about output that was asked
	// for and that the machine does not have (any more).
	Missing func(what string)
	// Unread, if it is not nil, is called with why the machine could not be read. That is
	// for the log: it names what users should not know.
	Unread func(err error)
}

// Caller is the user who makes a request.
type Caller = identity.Caller

type callerKey struct{}

// WithCaller returns a context for calls of a user.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

func callerOf(ctx context.Context) (Caller, error) {
	c, ok := ctx.Value(callerKey{}).(Caller)
	if !ok {
		return Caller{}, pai.Errorf(pai.CodeForbidden, "", "the request has no caller")
	}
	return c, nil
}
