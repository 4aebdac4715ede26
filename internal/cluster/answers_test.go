package cluster

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"
)

func TestOnce(t *testing.T) {
	t.Parallel()
	var a answers
	asked := 0
	ask := func(context.Context) (string, error) {
		asked++
		if asked == 1 {
			return "", errors.New("not now")
		}
		return "yes", nil
	}
	if _, err := once(t.Context(), &a, "q", ask); err == nil {
		t.Error("the error of the first question is lost")
	}
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if got, err := once(t.Context(), &a, "q", ask); err != nil || got != "yes" {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
	group.Wait()
	if asked != 2 {
		t.Errorf("asked %d times, want 2: an error is not kept, an answer is", asked)
	}
}

func TestOnceEndsWithItsContext(t *testing.T) {
	t.Parallel()
	var a answers
	asking, release := make(chan struct{}), make(chan struct{})
	go func() {
		_, _ = once(t.Context(), &a, "slow", func(context.Context) (int, error) {
			close(asking)
			<-release
			return 1, nil
		})
	}()
	<-asking
	defer close(release)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := once(ctx, &a, "slow", func(context.Context) (int, error) { return 2, nil }); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the end of the deadline", err)
	}
	if got, err := once(t.Context(), &a, "another", func(context.Context) (int, error) { return 3, nil }); err != nil || got != 3 {
		t.Errorf("another question waited: %d, %v", got, err)
	}
}
