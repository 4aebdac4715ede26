package kube

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"
)

// responseHeaderTimeout is the time for the API server to start its response.
// Without it, a server that hangs with open connections would block every call
// that has no timeout.
const responseHeaderTimeout = 20 * time.Second

// responseTimeoutError is the error of a request without a response in time. It
// is a net.Error, so that the call is retried.
type responseTimeoutError struct{ limit time.Duration }

func (e responseTimeoutError) Error() string   { return fmt.Sprintf("no response within %s", e.limit) }
func (e responseTimeoutError) Timeout() bool   { return true }
func (e responseTimeoutError) Temporary() bool { return true }

// responseTimeout is a RoundTripper that cancels a request if no response starts
// within limit. It does not limit the body, so logs and watches can stay open.
type responseTimeout struct {
	next  http.RoundTripper
	limit time.Duration
}

func (t responseTimeout) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(r.Context())
	timer := time.AfterFunc(t.limit, func() { cancel(responseTimeoutError{t.limit}) })
	resp, err := t.next.RoundTrip(r.WithContext(ctx))
	if !timer.Stop() && err == nil { // it arrived at the same moment
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

// responseBody releases the request's context when it is closed.
type responseBody struct {
	io.ReadCloser
	cancel context.CancelCauseFunc
}

func (a *responseBody) Close() error {
	defer a.cancel(nil)
	return a.ReadCloser.Close()
}

// Write is for upgraded connections, as exec uses.
func (a *responseBody) Write(p []byte) (int, error) {
	if w, ok := a.ReadCloser.(io.Writer); ok {
		return w.Write(p)
	}
	return 0, fmt.Errorf("this response takes no input")
}
