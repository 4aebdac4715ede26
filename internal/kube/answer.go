package kube

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"
)

// answerTimeout is how long the API may take until it begins to answer. One
// that hangs with its connections open would otherwise be waited for without
// end, by every call that has no limit of its own.
const answerTimeout = 20 * time.Second

// noAnswerError is a request that the API did not begin to answer in time. It
// is a net.Error, so that the call is tried again.
type noAnswerError struct{ limit time.Duration }

func (e noAnswerError) Error() string   { return fmt.Sprintf("no answer within %s", e.limit) }
func (e noAnswerError) Timeout() bool   { return true }
func (e noAnswerError) Temporary() bool { return true }

// impatient ends requests that are not being answered. What has begun to come,
// a log or a watch, may go on for as long as it likes.
type impatient struct {
	next  http.RoundTripper
	limit time.Duration
}

func (t impatient) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(r.Context())
	timer := time.AfterFunc(t.limit, func() { cancel(noAnswerError{t.limit}) })
	resp, err := t.next.RoundTrip(r.WithContext(ctx))
	if !timer.Stop() && err == nil { // it came at the very moment
		resp.Body.Close()
		err = noAnswerError{t.limit}
	}
	if err != nil {
		if late, ok := context.Cause(ctx).(noAnswerError); ok { //nolint:errorlint // the cause is exactly what was given
			err = late
		}
		cancel(nil)
		return nil, err
	}
	resp.Body = &answered{resp.Body, cancel}
	return resp, nil
}

// answered frees a request's context when its answer has been read.
type answered struct {
	io.ReadCloser
	cancel context.CancelCauseFunc
}

func (a *answered) Close() error {
	defer a.cancel(nil)
	return a.ReadCloser.Close()
}

// Write lets a connection that was upgraded, as exec's is, be written to.
func (a *answered) Write(p []byte) (int, error) {
	if w, ok := a.ReadCloser.(io.Writer); ok {
		return w.Write(p)
	}
	return 0, fmt.Errorf("this answer takes no input")
}
