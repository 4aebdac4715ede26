package rest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/poll"
)

// What one caller can have of a server, so that others are still served.
const (
	requestsPerSecond = 20
	requestBurst      = 60
	maxRequests       = 16 // in progress; followed logs count separately
	maxFollowers      = 50
	// followLimit ends followed logs. Clients follow them again without a gap.
	followLimit = 12 * time.Hour
	// outputLimit ends output that is not followed. A machine has up to 50 MiB of a task.
	outputLimit = 30 * time.Minute
	// maxLinks is how much output that links lead to one user has in progress. Who has a
	// link needs no token, so it must not count as a request of the user.
	maxLinks = 4
)

// errBusy marks the error of a caller with too many requests: a later retry succeeds.
var errBusy = errors.New("too many requests")

// errTooFast is the error of a caller above the rate.
var errTooFast = fmt.Errorf("%w in a second", errBusy)

// rateWait is how long a request above the rate waits before it is refused: published
// clients do not repeat a request.
const rateWait = 2 * time.Second

// callers limits the requests of each caller. Callers are users of the server, so
// there are few.
type callers struct {
	mu sync.Mutex
	of map[string]*caller
}

type caller struct {
	rate, linkRate             *rate.Limiter
	requests, followers, links int // in progress
	waiting                    int // for the rate
}

// enter counts a request in progress until done is called.
func (c *callers) enter(name string, follows bool) (done func(), err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	one := c.known(name)
	if follows {
		return c.begin(name, one.rate, &one.followers, maxFollowers, "followed logs")
	}
	return c.begin(name, one.rate, &one.requests, maxRequests, "requests in progress")
}

// enterLink is enter for output that a link of a user leads to.
func (c *callers) enterLink(name string) (done func(), err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	one := c.known(name)
	return c.begin(name, one.linkRate, &one.links, maxLinks, "links in use")
}

// known returns a caller, with the lock held.
func (c *callers) known(name string) *caller {
	if c.of == nil {
		c.of = map[string]*caller{}
	}
	if c.of[name] == nil {
		c.of[name] = &caller{rate: rate.NewLimiter(requestsPerSecond, requestBurst), linkRate: rate.NewLimiter(requestsPerSecond, requestBurst)}
	}
	return c.of[name]
}

// begin counts one more, with the lock held.
func (c *callers) begin(name string, allowed *rate.Limiter, count *int, limit int, what string) (done func(), err error) {
	switch {
	case !allowed.Allow():
		return nil, pai.Errorf(pai.CodeFailed, "send fewer requests", "%w: the limit of user %q is %d per second", errTooFast, name, requestsPerSecond)
	case *count >= limit:
		return nil, pai.Errorf(pai.CodeFailed, "end some of them first", "%w: user %q has %d %s, which is the limit", errBusy, name, *count, what)
	}
	*count++
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		*count--
	}, nil
}

// enterSoon is enter for a request that can wait for the rate. As many requests of a
// caller wait as can be in progress.
func (c *callers) enterSoon(ctx context.Context, name string, follows bool) (done func(), err error) {
	if done, err = c.enter(name, follows); !errors.Is(err, errTooFast) || !c.wait(name, 1) {
		return done, err
	}
	defer c.wait(name, -1)
	for start := time.Now(); errors.Is(err, errTooFast) && time.Since(start) < rateWait; {
		if stopped := poll.Sleep(ctx, time.Second/requestsPerSecond); stopped != nil {
			return nil, stopped
		}
		done, err = c.enter(name, follows)
	}
	return done, err
}

// wait counts the waiting requests of a caller. It returns false if there are too many.
func (c *callers) wait(name string, change int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	one := c.of[name]
	if change > 0 && one.waiting >= maxRequests {
		return false
	}
	one.waiting += change
	return true
}

// limited refuses the requests of a caller who has too many.
func (h *Handler) limited(next http.Handler, fail func(http.ResponseWriter, *http.Request, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		caller, err := callerOf(req.Context())
		if err != nil {
			fail(w, req, err)
			return
		}
		follows := isFollow(req)
		done, err := h.callers.enterSoon(req.Context(), caller.Name, follows)
		if err != nil {
			fail(w, req, err)
			return
		}
		defer done()
		limit := requestTimeout
		switch {
		case follows:
			limit = followLimit
		case isOutput(req):
			limit = outputLimit
		}
		ctx, cancel := withLimit(req.Context(), limit)
		defer cancel()
		next.ServeHTTP(w, req.WithContext(ctx))
	})
}

// isFollow reports whether a request stays open for as long as a task runs. A value
// that is no boolean is refused later.
func isFollow(req *http.Request) bool {
	o, err := logOptions(req)
	return isOutput(req) && err == nil && o.Follow
}

// isOutput reports whether a request is for the output of a task, which can be long.
func isOutput(req *http.Request) bool {
	return strings.HasPrefix(req.URL.Path, "/api/v2/jobs/") && strings.HasSuffix(req.URL.Path, "/logs")
}
