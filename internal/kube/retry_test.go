package kube

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"pai.dev/pai/internal/poll"
)

func TestRetry(t *testing.T) {
	t.Parallel()
	resource := schema.GroupResource{Resource: "widgets"}
	refused := fmt.Errorf("dial: %w", syscall.ECONNREFUSED)
	notFound := apierrors.NewNotFound(resource, "one")
	for _, test := range []struct {
		name   string
		fails  time.Duration // how long calls fail
		err    error
		took   time.Duration // at least; at most 3 s more
		want   string        // in the error
		report string        // in the last report
	}{
		{name: "success at once"},
		{name: "success before the first report", fails: 500 * time.Millisecond, err: refused, took: 500 * time.Millisecond},
		{name: "success after an outage", fails: time.Minute, err: refused, took: time.Minute, report: "apply Widget one: done after 1m"},
		{name: "an error that a retry cannot change", fails: time.Hour, err: notFound, want: `apply Widget one: widgets "one" not found`},
		{name: "an outage without end", fails: time.Hour, err: refused, took: 3 * time.Minute, report: "the API server is not responding; retrying for up to",
			want: "timed out after 3m0s waiting for the API server to apply Widget one: the API server is not responding: dial: connection refused"},
		{name: "a conflict", fails: 2 * time.Second, err: apierrors.NewConflict(resource, "one", errors.New("changed")), took: 2 * time.Second, report: "done"},
		{name: "an unknown kind", fails: time.Hour, err: &meta.NoKindMatchError{GroupKind: schema.GroupKind{Kind: "Widget"}}, took: noMatchTimeout,
			want: "apply Widget one: no matches for kind", report: "does not serve the kind yet"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				report := ""
				c := (&Client{retryTimeout: DefaultRetryTimeout}).WithProgress(func(format string, args ...any) { report = fmt.Sprintf(format, args...) })
				start := time.Now()
				err := c.retry(t.Context(), "apply Widget one", func(context.Context) error {
					if time.Since(start) < test.fails {
						return test.err
					}
					return nil
				})
				took := time.Since(start)
				if took < test.took || took > test.took+3*time.Second {
					t.Errorf("took %s, want %s", took, test.took)
				}
				if (err == nil) != (test.want == "") || err != nil && (!strings.Contains(err.Error(), test.want) || !errors.Is(err, test.err)) {
					t.Errorf("got error %v, want %q", err, test.want)
				}
				if (report == "") != (test.report == "") || !strings.Contains(report, test.report) {
					t.Errorf("got report %q, want %q", report, test.report)
				}
			})
		})
	}
}

func TestRetryEndsWithItsContextAndItsAttempts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := (&Client{retryTimeout: 5 * time.Second}).WithProgress(nil)
		c.progress = func(string, ...any) {}
		hang := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		start := time.Now()
		err := c.retry(t.Context(), "read Widget one", hang)
		var timeout *poll.TimeoutError
		if took := time.Since(start); took != attemptTimeout || !errors.As(err, &timeout) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a call that hangs ended after %s: %v", took, err)
		}
		// A slow call is not cut off by the retry timeout.
		if err := c.retry(t.Context(), "read Widget one", func(context.Context) error { time.Sleep(10 * time.Second); return nil }); err != nil {
			t.Errorf("a slow call: %v", err)
		}
		gone := errors.New("the operator pressed Ctrl-C")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(gone) })
		start = time.Now()
		err = c.retry(ctx, "read Widget one", hang)
		if took := time.Since(start); took != time.Second || !errors.Is(err, gone) || !errors.Is(err, context.Canceled) {
			t.Errorf("a canceled call ended after %s: %v", took, err)
		}
	})
}
