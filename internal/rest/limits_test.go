package rest

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A caller who sends too much is refused; others are served.
func TestCallersAreLimited(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var c callers
		accepted := 0
		for range 10 * 1000 / 5 { // 10 s, 200 requests per second
			if done, err := c.enter("mallory", false); err == nil {
				accepted++
				done()
			} else if !errors.Is(err, errBusy) {
				t.Fatal(err)
			}
			time.Sleep(5 * time.Millisecond)
		}
		if accepted < 250 || accepted > 265 {
			t.Errorf("%d requests within 10 s, want 60 and 20 per second", accepted)
		}
		if _, err := c.enter("bob", false); err != nil {
			t.Errorf("another caller: %v", err)
		}
	})
}

func TestRequestsInProgressAreLimited(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var c callers
		for _, follows := range []bool{false, true} {
			limit := maxRequests
			if follows {
				limit = maxFollowers
			}
			var ends []func()
			for range limit {
				done, err := c.enter("alice", follows)
				if err != nil {
					t.Fatal(err)
				}
				ends = append(ends, done)
				time.Sleep(time.Second)
			}
			if _, err := c.enter("alice", follows); !errors.Is(err, errBusy) || !strings.Contains(err.Error(), "which is the limit") {
				t.Errorf("follows %t: one more: %v", follows, err)
			}
			other, err := c.enter("alice", !follows)
			if err != nil {
				t.Fatalf("follows %t: the other kind: %v", follows, err)
			}
			other()
			ends[0]()
			if ends[0], err = c.enter("alice", follows); err != nil {
				t.Fatalf("follows %t: after the end of one: %v", follows, err)
			}
			for _, end := range ends {
				end()
			}
		}
	})
}

// The limit of followed logs is that of a caller, over HTTP, and has the status 429.
func TestFollowersAreLimitedOverHTTP(t *testing.T) {
	t.Parallel()
	s := &scripted{logs: func(ctx context.Context, _ LogOptions) (io.ReadCloser, error) {
		r, w := io.Pipe()
		context.AfterFunc(ctx, func() { w.CloseWithError(ctx.Err()) })
		return r, nil
	}}
	access, _ := start(t, s, 0)
	alice := client(t, access)
	follow := LogOptions{Follow: true}
	var open []io.Closer
	for range maxFollowers {
		stream, err := alice.logs(t.Context(), JobID{"alice", "train"}, follow)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, stream)
	}
	if _, err := alice.logs(t.Context(), JobID{"alice", "train"}, follow); !errors.Is(err, errBusy) {
		t.Errorf("one more: %v", err)
	}
	access.Token = "admins"
	stream, err := client(t, access).logs(t.Context(), JobID{"alice", "train"}, follow)
	if err != nil {
		t.Fatalf("another caller: %v", err)
	}
	for _, c := range append(open, stream) {
		c.Close()
	}
}
