package kube

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"
)

// responseHeaderTimeout is how long the API may take until it begins to answer. One
// that hangs with its connections open would otherwise be waited for without
// end, by every call that has no limit of its own.
const responseHeaderTimeout = 20 * time.Second

// responseTimeoutError is a request that the API did not begin to answer in time. It
// is a net.Error, so that the call is tried again.
type responseTimeoutError struct{ limit time.Duration }

func (e responseTimeoutError) Error() string   { return fmt.Sprintf("no answer within %s", e.limit) }
func (e responseTimeoutError) Timeout() bool   { return true }
func (e responseTimeoutError) Temporary() bool { return true }

// responseTimeout ends requests that are not being answered. What has begun to come,
// a log or a watch, may go on for as long as it likes.
type responseTimeout struct {
	next  http.RoundTripper
	limit time.Duration
}

func (t responseTimeout) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(r.Context())
	timer := time.AfterFunc(t.limit, func() { cancel(responseTimeoutError{t.limit}) })
	resp, err := t.next.RoundTrip(r.WithContext(ctx))
	if !timer.Stop() && err == nil { // it came at the very moment
		resp.Body.Close()
		err = responseTimeoutError{t.limit}
	}
	if err != nil {
		if late, ok := context.Cause(ctx).(responseTimeoutError); ok { //nolint:errorlint // the cause is exactly what was given
			err = late
		}
		cancel(nil)
		return nil, err
	}
	resp.Body = &responseBody{resp.Body, cancel}
	return resp, nil
}

// answered frees a request's context when its answer has been read.
type responseBody struct {
	io.ReadCloser
	cancel context.CancelCauseFunc
}

func (a *responseBody) Close() error {
	defer a.cancel(nil)
	return a.ReadCloser.Close()
}

// Write lets a connection that was upgraded, as exec's is, be written to.
func (a *responseBody) Write(p []byte) (int, error) {
	if w, ok := a.ReadCloser.(io.Writer); ok {
		return w.Write(p)
	}
	return 0, fmt.Errorf("this answer takes no input")
}
