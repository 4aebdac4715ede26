package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/discovery"
)

const (
	// attemptTimeout ends one request, so that one on a dead connection cannot
	// use up the time of all.
	attemptTimeout = 30 * time.Second
	firstPause     = 100 * time.Millisecond
	longestPause   = 2 * time.Second
	// noMatchTimeout is how long a kind may be unknown: its definition has
	// been established by then, and what is left is discovery catching up.
	noMatchTimeout = 30 * time.Second
	// quietFor is how long a call is repeated without a word.
	quietFor = time.Second
)

// retry runs call until it succeeds, fails for good, or the context or the
// client's retryTimeout ends. What it is about appears in messages and errors.
func (c *Client) retry(ctx context.Context, about string, call func(context.Context) error) error {
	start := time.Now()
	deadline := start.Add(c.retryTimeout)
	pause := firstPause
	said := false
	for {
		attempt, cancel := context.WithTimeout(ctx, attemptTimeout)
		err := call(attempt)
		cancel()
		if err == nil {
			if said {
				c.progress("%s: done after %s of trying", about, time.Since(start).Round(time.Second))
			}
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%s: %w: %w", about, context.Cause(ctx), err)
		}
		why := transient(err)
		if why == "" {
			return fmt.Errorf("%s: %w", about, err)
		}
		if meta.IsNoMatchError(err) {
			deadline = minTime(deadline, start.Add(noMatchTimeout))
		}
		if time.Now().Add(pause).After(deadline) {
			return fmt.Errorf("%s: gave up after %s: %s: %w", about, time.Since(start).Round(time.Second), why, err)
		}
		if !said && time.Since(start) > quietFor {
			said = true
			c.progress("%s: %s; trying again for up to %s (%v)", about, why, time.Until(deadline).Round(time.Second), err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w: %w", about, context.Cause(ctx), err)
		case <-time.After(pause):
		}
		pause = min(2*pause, longestPause)
	}
}

// transient says why it makes sense to try again after err; empty when it
// does not.
func transient(err error) string {
	var group *discovery.ErrGroupDiscoveryFailed
	var netErr net.Error
	switch {
	case meta.IsNoMatchError(err):
		return "the API does not serve the kind yet"
	case errors.As(err, &group):
		return "part of the API does not answer"
	case apierrors.IsConflict(err):
		return "somebody else changed it at the same time"
	case apierrors.IsTooManyRequests(err):
		return "the API is busy"
	case isWebhookAway(err):
		return "an admission webhook does not answer yet"
	case isNamespaceTerminating(err):
		return "its namespace is being deleted"
	case isStatus(err, http.StatusServiceUnavailable, http.StatusGatewayTimeout, http.StatusBadGateway),
		apierrors.IsServerTimeout(err), apierrors.IsTimeout(err):
		return "the API is not ready"
	case apierrors.IsInternalError(err), isStatus(err, http.StatusInternalServerError):
		return "the API failed"
	case isColdForbidden(err):
		return "the API has not loaded its access rules yet"
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE),
		errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, context.DeadlineExceeded),
		utilnet.IsConnectionReset(err), utilnet.IsHTTP2ConnectionLost(err),
		errors.As(err, &netErr) && netErr.Timeout():
		return "the API does not answer"
	default:
		return ""
	}
}

// isWebhookAway recognises the API server's words for a webhook that it could
// not call (k8s.io/apiserver, pkg/admission/plugin/webhook/errors), as opposed
// to one that said no.
func isWebhookAway(err error) bool {
	return apierrors.IsInternalError(err) && strings.Contains(err.Error(), "failed calling webhook")
}

// isNamespaceTerminating recognises an object that cannot be created because
// its namespace is going away.
func isNamespaceTerminating(err error) bool {
	return apierrors.HasStatusCause(err, "NamespaceTerminating")
}

// isColdForbidden recognises the refusals of an API server that has just
// started: its admission has not filled its caches, or its authorizer follows
// a binding to a role that it has not read yet.
func isColdForbidden(err error) bool {
	if !apierrors.IsForbidden(err) {
		return false
	}
	text := err.Error()
	return strings.Contains(text, "not yet ready to handle request") ||
		(strings.Contains(text, "RBAC: ") && strings.Contains(text, "not found"))
}

func minTime(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func isStatus(err error, codes ...int32) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	for _, code := range codes {
		if status.Status().Code == code {
			return true
		}
	}
	return false
}

func isNotFound(err error) bool { return apierrors.IsNotFound(err) }
