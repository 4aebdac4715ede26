package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"

	"pai.dev/pai/internal/poll"
)

const (
	// attemptTimeout ends one request, so that one on a dead connection cannot
	// use up the time of all.
	attemptTimeout = 30 * time.Second
	firstPause     = 100 * time.Millisecond
	longestPause   = 2 * time.Second
	// noMatchTimeout is how long a kind can be unknown: its definition is
	// established by then, and only discovery is late.
	noMatchTimeout = 30 * time.Second
	// quietFor is how long a call is retried without a report.
	quietFor = time.Second
)

// retry repeats call until it succeeds, until its error is not transient, or
// until the context or the client's retry timeout ends. about starts with a
// verb, as in "apply Deployment kueue"; it is part of reports and errors.
func (c *Client) retry(ctx context.Context, about string, call func(context.Context) error) error {
	start, reported := time.Now(), false
	wait := poll.Wait{For: "the API server to " + about, Timeout: c.retryTimeout, Every: firstPause, Max: longestPause}
	return wait.Until(ctx, func(limited context.Context) (bool, error) {
		// An attempt in progress can outlast the retry timeout: a slow answer is one.
		attempt, cancel := context.WithTimeout(ctx, attemptTimeout)
		defer cancel()
		err := call(attempt)
		why, elapsed := transient(err), time.Since(start)
		switch {
		case err == nil:
			if reported {
				c.progress("%s: done after %s", about, elapsed.Round(time.Second))
			}
			return true, nil
		case ctx.Err() != nil:
			return false, err
		case why == "", meta.IsNoMatchError(err) && elapsed > noMatchTimeout:
			return false, poll.Final(fmt.Errorf("%s: %w", about, err))
		case !reported && elapsed > quietFor:
			reported = true
			c.progress("%s: %s; retrying for up to %s (%v)", about, why, (c.retryTimeout - elapsed).Round(time.Second), err)
		}
		err = fmt.Errorf("%s: %w", why, err)
		if limited.Err() != nil {
			return false, poll.Final(&poll.TimeoutError{For: wait.For, After: c.retryTimeout, Last: err})
		}
		return false, err
	})
}

// retryOn is retry for a call on the resource of an object.
func (c *Client) retryOn(ctx context.Context, verb string, r Ref, call func(context.Context, dynamic.ResourceInterface) error) error {
	return c.retry(ctx, verb+" "+r.String(), func(ctx context.Context) error {
		resource, err := c.resource(r)
		if err != nil {
			return err
		}
		return call(ctx, resource)
	})
}

// transient is the reason to retry after err; empty if a retry is useless.
func transient(err error) string {
	var group *discovery.ErrGroupDiscoveryFailed
	var netErr net.Error
	switch {
	case meta.IsNoMatchError(err):
		return "the API server does not serve the kind yet"
	case errors.As(err, &group):
		return "part of the API is not responding"
	case apierrors.IsConflict(err):
		return "another client changed it at the same time"
	case apierrors.IsTooManyRequests(err):
		return "the API server is busy"
	case isWebhookUnavailable(err):
		return "an admission webhook is not responding yet"
	case apierrors.HasStatusCause(err, "NamespaceTerminating"):
		return "its namespace is being deleted"
	case isStatus(err, http.StatusServiceUnavailable, http.StatusGatewayTimeout, http.StatusBadGateway),
		apierrors.IsServerTimeout(err), apierrors.IsTimeout(err):
		return "the API server is not ready"
	case apierrors.IsInternalError(err), isStatus(err, http.StatusInternalServerError):
		return "the API server failed"
	case isColdForbidden(err):
		return "the API server has not loaded its access rules yet"
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE),
		errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, context.DeadlineExceeded),
		utilnet.IsConnectionReset(err), utilnet.IsHTTP2ConnectionLost(err),
		errors.As(err, &netErr) && netErr.Timeout():
		return "the API server is not responding"
	default:
		return ""
	}
}

// isWebhookUnavailable recognizes the message of the API server for a webhook
// that it could not call (k8s.io/apiserver, pkg/admission/plugin/webhook/errors),
// as opposed to a webhook that refused the object.
func isWebhookUnavailable(err error) bool {
	return apierrors.IsInternalError(err) && strings.Contains(err.Error(), "failed calling webhook")
}

// isColdForbidden recognizes the refusals of an API server that has just
// started: its admission has not filled its caches, or its authorizer has not
// read the role of a binding.
func isColdForbidden(err error) bool {
	if !apierrors.IsForbidden(err) {
		return false
	}
	text := err.Error()
	return strings.Contains(text, "not yet ready to handle request") ||
		(strings.Contains(text, "RBAC: ") && strings.Contains(text, "not found"))
}

func isStatus(err error, codes ...int32) bool {
	var status apierrors.APIStatus
	return errors.As(err, &status) && slices.Contains(codes, status.Status().Code)
}
