package certs

import (
	"testing"
	"time"
)

// The life of a certificate that is renewed through the API stays, for each life: the
// signer of Kubernetes dates back, and takes that from the time if it is long.
func TestAsked(t *testing.T) {
	t.Parallel()
	signed := func(ttl time.Duration) time.Duration { // as the signer computes it
		from, to := -5*time.Minute, ttl
		if ttl >= 8*time.Hour {
			to -= 5 * time.Minute
		}
		return to - from
	}
	for _, lives := range []time.Duration{15 * time.Minute, time.Hour, 8 * time.Hour, 8*time.Hour + 4*time.Minute, 8*time.Hour + 5*time.Minute, 24 * time.Hour, yearLife} {
		if got := signed(asked(lives)); got != lives {
			t.Errorf("got a life of %s, want %s", got, lives)
		}
	}
	if got := asked(time.Minute); got != minLife {
		t.Errorf("got %s, want what the signer accepts", got)
	}
}
