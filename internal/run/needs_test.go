package run

import (
	"context"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/test/runtest"
)

// holderBefore is what paictl of v0.10 and older read of a lock file.
type holderBefore struct {
	Token     string    `json:"token"`
	Since     time.Time `json:"since"`
	Heartbeat time.Time `json:"heartbeat"`
	Released  bool      `json:"released,omitempty"`
}

func TestLockFileOfANewerClusterIsRefusedByOlderPaictl(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		needs   pai.Release
		refused string
	}{{"", ""}, {"v0.9", ""}, {"v0.10", ""}, {"v0.10.1", "this cluster needs paictl v0.10.1 or newer"}, {"v0.11", "this cluster needs paictl v0.11 or newer"}, {"v0.12.1", "this cluster needs paictl v0.12.1 or newer"}} {
		for _, released := range []bool{false, true} {
			h := me(t)
			h.Needs, h.Released, h.Since, h.Heartbeat = c.needs, released, time.Now().UTC(), time.Now().UTC()
			data, err := h.encode()
			if err != nil {
				t.Fatal(err)
			}
			got, err := decodeHolder(data)
			if c.refused == "" {
				h.Needs = "" // any paictl can operate
			}
			if err != nil || !reflect.DeepEqual(got, h) {
				t.Errorf("needs %q: read %+v, %v, want %+v", c.needs, got, err, h)
			}
			var before holderBefore
			err = json.Unmarshal(data, &before)
			if c.refused == "" && (err != nil || before.Token != h.Token || before.Released != released) {
				t.Errorf("needs %q: an older paictl reads %+v, %v", c.needs, before, err)
			}
			if c.refused != "" && (err == nil || !strings.Contains(err.Error(), c.refused) || before.Token != "") {
				t.Errorf("needs %q: an older paictl reads %+v, %v, want the error %q", c.needs, before, err, c.refused)
			}
		}
	}
}

// What a cluster needs stays until the whole cluster was observed, whether a holder
// released the lock or died.
func TestLockKeepsWhatTheClusterNeeds(t *testing.T) {
	t.Parallel()
	store := runtest.Dir(t.TempDir())
	acquire := func(version string, o LockOptions) (*Lock, error) {
		h := me(t)
		h.Version = version
		return Acquire(context.Background(), store, h, o)
	}
	stored := func() string {
		t.Helper()
		_, h, err := latest(context.Background(), store)
		if err != nil {
			t.Fatal(err)
		}
		return string(h.Needs)
	}
	for _, c := range []struct {
		name, version string
		o             LockOptions
		want          string
		refused       bool
	}{
		{"a cluster of an older release", "v0.11", LockOptions{}, "", false},
		{"the same, by an older paictl", "v0.10", LockOptions{}, "", false},
		{"an upgrade", "v0.11", LockOptions{Needs: "v0.11", AllKnown: true}, "v0.11", false},
		{"a push, which observes nothing", "v0.11", LockOptions{}, "v0.11", false},
		{"a part is not observed", "v0.11", LockOptions{Needs: "v0.10"}, "v0.11", false},
		{"a newer paictl", "v0.12", LockOptions{Needs: "v0.12"}, "v0.12", false},
		{"an older paictl", "v0.11", LockOptions{Needs: "v0.11", AllKnown: true}, "v0.12", true},
		{"after a rollback, all is observed", "v0.12", LockOptions{Needs: "v0.10", AllKnown: true}, "", false},
		{"an older paictl again", "v0.11", LockOptions{Needs: "v0.10", AllKnown: true}, "", false},
	} {
		l, err := acquire(c.version, c.o)
		if refused := pai.CodeOf(err) == pai.CodeRefused; refused != c.refused || !refused && err != nil {
			t.Fatalf("%s: got %v, want a refusal: %t", c.name, err, c.refused)
		}
		if c.refused && !strings.Contains(err.Error(), "needs paictl v0.12 or newer, and this is paictl v0.11") {
			t.Errorf("%s: the refusal is %q", c.name, err)
		}
		if got := stored(); got != c.want {
			t.Errorf("%s: the lock says that the cluster needs %q, want %q", c.name, got, c.want)
		}
		if l == nil {
			continue
		}
		if err := l.Release(context.Background()); err != nil {
			t.Fatal(err)
		}
		if got := stored(); got != c.want {
			t.Errorf("%s: the released lock says that the cluster needs %q, want %q", c.name, got, c.want)
		}
	}
}

// A rollback lowers what the cluster needs when it releases the lock.
func TestLockIsReleasedWithNewNeeds(t *testing.T) {
	t.Parallel()
	store := runtest.Dir(t.TempDir())
	h := me(t)
	h.Version = "v0.11"
	l, err := Acquire(context.Background(), store, h, LockOptions{Needs: "v0.11"})
	if err != nil || l.Needs() != "v0.11" {
		t.Fatalf("got needs %q, %v", l.Needs(), err)
	}
	l.SetNeeds("v0.10")
	if err := l.Release(context.Background()); err != nil {
		t.Fatal(err)
	}
	_, last, err := latest(context.Background(), store)
	if err != nil || last.Needs != "" || !last.Released {
		t.Errorf("the released lock is %+v, %v, want one that every paictl reads", last, err)
	}
}
