package rest

import (
	"context"
	"errors"
	"time"

	"pai.dev/pai/internal/poll"
)

// readTimeout is how long a read that fails is repeated. While an upgrade replaces
// the API server or its proxy on a machine, connections fail for less than a second.
// In an outage, the client decides whether to repeat its request.
const readTimeout = 5 * time.Second

// reading repeats a read of the cluster that fails because the API server does. A slow
// answer is not cut off.
func reading[T any](ctx context.Context, read func(ctx context.Context) (T, error)) (T, error) {
	var result T
	var last error
	wait := poll.Wait{For: "the API server", Timeout: readTimeout, Every: 100 * time.Millisecond, Max: time.Second}
	err := wait.Until(ctx, func(limited context.Context) (bool, error) {
		result, last = read(ctx)
		if last != nil && (!errors.Is(last, errUnavailable) || limited.Err() != nil) {
			return false, poll.Final(last)
		}
		return last == nil, last
	})
	if err != nil {
		err = last // without the wait: it is the error of a request
	}
	return result, err
}
