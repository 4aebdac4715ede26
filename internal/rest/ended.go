package rest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"pai.dev/pai/internal/pai"
)

// net/http ends the context of a request with context.Canceled when its client left. Every
// other end has its reason as the cause of the context, so that the client learns it: an
// answer that is cut off must not look like a whole one.

// later is an error that counts as errUnavailable: a later request can succeed.
type later string

func (l later) Error() string      { return string(l) }
func (later) Is(target error) bool { return target == errUnavailable }
func (l later) because(what string, values ...any) error {
	return pai.Errorf(pai.CodeFailed, "try again in a moment", "%w: %s", l, fmt.Sprintf(what, values...))
}

const (
	// errUnreachable is the error of a client whose request no server answered.
	errUnreachable = later("the REST server is unreachable")
	// errNotStarted is the error of who follows a task that waits.
	errNotStarted = later("the task has not started yet")
	// errEnding is the error of who follows a task on a server that ends.
	errEnding = later("this REST server is being replaced")
)

// notStartedHeader marks the answer about a task that waits, which is no failure.
const notStartedHeader = "Pai-Not-Started"

// timeOver is the error of a request that took longer than it may.
type timeOver time.Duration

func (t timeOver) Error() string {
	return fmt.Sprintf("the request was not done within %s", time.Duration(t))
}

// Is makes it the end of a context, which a later request might not meet.
func (timeOver) Is(target error) bool {
	return target == errUnavailable || target == context.DeadlineExceeded
}

// withLimit returns a context that ends with timeOver as its cause.
func withLimit(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, limit, timeOver(limit))
}

// endedBy returns the error of a call with a context: why the context ended, if it has.
func endedBy(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return cause
	}
	return err
}

// clientLeft reports whether the client of a request disconnected.
func clientLeft(req *http.Request) bool {
	return errors.Is(context.Cause(req.Context()), context.Canceled)
}
