package rest

import (
	"context"
	"io"
	"time"

	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/pai"
)

// JobAPI is what PAI offers to those who run jobs. Errors are *pai.Error; a
// job that is refused has job.Problems in its chain. Core needs the caller in
// the context (WithCaller); Client sends its token.
type JobAPI interface {
	// Submit accepts a job, whole or not at all.
	Submit(ctx context.Context, s Submission) (Submitted, error)
	// List returns the jobs of all users, oldest first.
	List(ctx context.Context, f Filter) ([]job.Status, error)
	// Get returns one job; CodeNotFound when there is none.
	Get(ctx context.Context, id JobID) (job.Status, error)
	// Protocol returns a job as it was submitted.
	Protocol(ctx context.Context, id JobID) ([]byte, error)
	// Stop asks a job to stop, and returns before it has. Stopping a job that
	// was asked before is no error; stopping one that has ended is CodeRefused.
	Stop(ctx context.Context, id JobID) error
	// Logs returns what a task printed. The caller closes it.
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
	// VirtualCluster overrides the one that the job asks for, when not empty.
	VirtualCluster string
}

// Submitted is an accepted job.
type Submitted struct {
	pai.JobRef
	ID string `json:"id"` // user~name
	// Warnings name what the job asks for that has no effect.
	Warnings []job.Problem `json:"warnings,omitempty"`
}

// Filter picks jobs; an empty field picks all.
type Filter struct {
	User           string
	VirtualCluster string
	State          job.State
}

func (f Filter) matches(s job.Status) bool {
	return (f.User == "" || f.User == s.User) &&
		(f.VirtualCluster == "" || f.VirtualCluster == s.VirtualCluster) &&
		(f.State == "" || f.State == s.State)
}

// LogOptions says which output is wanted.
type LogOptions struct {
	TaskRole string // empty: the first one
	Index    int
	Follow   bool // go on until the task has ended
	// Tail is how many of the last lines are wanted; 0 means all.
	Tail int64
	// Timestamps puts the time (RFC 3339, nanoseconds) and a space before each line.
	Timestamps bool
	// Since leaves out what was printed before that second.
	Since time.Time
}

// Caller is who makes a request.
type Caller struct {
	Name  string
	Admin bool
}

type callerKey struct{}

// WithCaller says on whose behalf calls with the context are made.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

func callerOf(ctx context.Context) (Caller, error) {
	c, ok := ctx.Value(callerKey{}).(Caller)
	if !ok {
		return Caller{}, pai.Errorf(pai.CodeForbidden, "", "the request is nobody's")
	}
	return c, nil
}
