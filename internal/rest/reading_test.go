package rest

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"pai.dev/pai/internal/pai"
)

func TestReading(t *testing.T) {
	t.Parallel()
	unavailable := errors.Join(errUnavailable, errors.New("connection refused"))
	missing := pai.Errorf(pai.CodeNotFound, "", "no job")
	for name, c := range map[string]struct {
		takes time.Duration // each read
		fails time.Duration // until then
		with  error
		want  error
		after time.Duration // at most
	}{
		"a success":              {0, 0, nil, nil, 0},
		"a short outage":         {0, 3 * time.Second, unavailable, nil, 4 * time.Second},
		"a long outage":          {0, time.Minute, unavailable, unavailable, readTimeout},
		"a slow answer":          {20 * time.Second, 0, nil, nil, 20 * time.Second},
		"a slow failure":         {20 * time.Second, time.Minute, unavailable, unavailable, 20 * time.Second},
		"an answer that is no":   {0, time.Minute, missing, missing, 0},
		"a caller that has left": {0, time.Minute, context.Canceled, context.Canceled, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				got, err := reading(t.Context(), func(context.Context) (int, error) {
					time.Sleep(c.takes)
					if time.Since(start) < c.fails {
						return 0, c.with
					}
					return 7, nil
				})
				if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) || (err == nil && got != 7) || time.Since(start) > c.after {
					t.Errorf("got %d, %v after %s", got, err, time.Since(start))
				}
			})
		})
	}
}

// The error of a read whose caller has left is not lost.
func TestReadingEndsWithItsCaller(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		_, err := reading(ctx, func(context.Context) (int, error) { return 0, errUnavailable })
		if !errors.Is(err, errUnavailable) || time.Since(start) > time.Second {
			t.Errorf("got %v after %s", err, time.Since(start))
		}
	})
}
