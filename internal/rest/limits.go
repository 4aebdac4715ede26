package rest

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"pai.dev/pai/internal/pai"
)

// What one caller can have of a server, so that others are still served.
const (
	requestsPerSecond = 20
	requestBurst      = 60
	maxRequests       = 16 // in progress; followed logs count separately
	maxFollowers      = 50
	// followLimit ends followed logs. Clients follow them again without a gap.
	followLimit = 12 * time.Hour
)

// errBusy marks the error of a caller with too many requests: a later retry succeeds.
var errBusy = errors.New("too many requests")

// callers limits the requests of each caller. Callers are users of the server, so
// there are few.
type callers struct {
	mu sync.Mutex
	of map[string]*caller
}

type caller struct {
	rate                *rate.Limiter
	requests, followers int // in progress
}

// enter counts a request in progress until done is called.
func (c *callers) enter(name string, follows bool) (done func(), err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of == nil {
		c.of = map[string]*caller{}
	}
	if c.of[name] == nil {
		c.of[name] = &caller{rate: rate.NewLimiter(requestsPerSecond, requestBurst)}
	}
	one := c.of[name]
	count, limit, what := &one.requests, maxRequests, "requests in progress"
	if follows {
		count, limit, what = &one.followers, maxFollowers, "followed logs"
	}
	switch {
	case !one.rate.Allow():
		return nil, pai.Errorf(pai.CodeFailed, "send fewer requests", "%w: the limit of user %q is %d per second", errBusy, name, requestsPerSecond)
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

// limited refuses the requests of a caller who has too many.
func (h *Handler) limited(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		caller, err := callerOf(req.Context())
		if err != nil {
			h.fail(w, req, err)
			return
		}
		follows := isFollow(req)
		done, err := h.callers.enter(caller.Name, follows)
		if err != nil {
			h.fail(w, req, err)
			return
		}
		defer done()
		limit := requestTimeout
		if follows {
			limit = followLimit
		}
		ctx, cancel := context.WithTimeout(req.Context(), limit)
		defer cancel()
		next.ServeHTTP(w, req.WithContext(ctx))
	})
}

// isFollow reports whether a request stays open for as long as a task runs. A value
// that is no boolean is refused later.
func isFollow(req *http.Request) bool {
	o, err := logOptions(req)
	return err == nil && o.Follow
}
