package rest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"pgregory.net/rapid"
)

// statusFor is the HTTP status of a request with a token.
func statusFor(t *testing.T, u *Users, token string) int {
	t.Helper()
	_, err := u.Caller(t.Context(), token)
	if err == nil {
		return http.StatusOK
	}
	return statusOf(err)
}

// No token is valid for longer than ten minutes after the last answer of the store,
// whatever the store does meanwhile, and all are again after the next one.
func TestTokensAreNotTrustedWithoutTheStore(t *testing.T) {
	t.Parallel()
	for name, takes := range map[string]time.Duration{"refused": 0, "hangs": time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				store := &userStore{}
				store.set(0, nil, "alice")
				u := NewUsers(store, UsersByEntry, func(error) {})
				ask(t, u, "alice")
				store.set(takes, errors.New("connection refused"), "alice")
				for start := time.Now(); time.Since(start) < usersTrustedFor-time.Second; time.Sleep(500 * time.Millisecond) {
					if got := statusFor(t, u, "alice"); got != http.StatusOK {
						t.Fatalf("after %s, got %d", time.Since(start), got)
					}
				}
				time.Sleep(2 * time.Second)
				for range 5 {
					if got := statusFor(t, u, "alice"); got != http.StatusServiceUnavailable {
						t.Fatalf("after ten minutes, got %d, want 503", got)
					}
					if u.Ready(t.Context()) == nil {
						t.Error("the server is ready without users")
					}
					time.Sleep(time.Minute)
				}
				store.set(0, nil, "alice")
				if got := statusFor(t, u, "alice"); got != http.StatusOK {
					t.Errorf("after the outage, got %d", got)
				}
			})
		})
	}
}

// A Secret that is deleted or empty has no users. What the server read before ends.
func TestDeletedUsersAreNotTrusted(t *testing.T) {
	t.Parallel()
	for name, gone := range map[string]error{"deleted": apierrors.NewNotFound(schema.GroupResource{Resource: "secrets"}, usersSecret), "empty": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				store := &userStore{}
				store.set(0, nil, "alice")
				u := NewUsers(store, UsersByEntry, func(error) {})
				ask(t, u, "alice")
				store.set(0, gone)
				time.Sleep(usersFreshFor)
				if got := statusFor(t, u, "alice"); got != http.StatusUnauthorized {
					t.Errorf("got %d, want 401", got)
				}
			})
		})
	}
}

func TestTokensExpire(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &userStore{}
		store.users.addToken("user-short", true, token{SHA256: hashToken("short"), Expires: time.Now().Add(time.Hour)})
		store.users.addToken("user-old", true, token{SHA256: hashToken("old")}) // of v0.10
		u := NewUsers(store, UsersByEntry, func(error) {})
		for range 2 {
			if known, _ := ask(t, u, "short"); !known {
				t.Error("a token is refused before its end")
			}
			time.Sleep(time.Hour/2 - time.Second)
		}
		time.Sleep(2 * time.Second)
		if known, _ := ask(t, u, "short"); known {
			t.Error("a token is valid after its end")
		}
		time.Sleep(1000 * day)
		if known, _ := ask(t, u, "old"); !known {
			t.Error("a token without an end is refused")
		}
	})
}

const day = 24 * time.Hour

// One entry that cannot be read locks out its own user, and is reported once.
func TestDamagedEntryIsLeftOut(t *testing.T) {
	t.Parallel()
	secret := &corev1.Secret{Data: map[string][]byte{
		"user.alice": []byte(`{"tokens":[{"sha256":"aa"}]}`),
		"user.bob":   []byte(`{"tokens":[{"sha256":"bb",}]}`),
		"user.-x":    []byte(`{"tokens":[{"sha256":"cc"}]}`),
		"users.json": []byte(`{"users":[{"name":"bob","tokens":[{"sha256":"old"}]},{"name":"carl","tokens":[{"sha256":"dd"}]}]}`),
	}}
	d, problems := readDirectory(secret, UsersByEntry)
	for hash, want := range map[string]bool{"aa": true, "bb": false, "cc": false, "old": false, "dd": true} {
		if _, _, known := d.holder(hash, time.Now()); known != want {
			t.Errorf("token %s is known %t", hash, known)
		}
	}
	if problems == nil || !strings.Contains(problems.Error(), "user.bob") || strings.Contains(problems.Error(), "bb") {
		t.Errorf("got problems %v, want the key without hashes", problems)
	}
	synctest.Test(t, func(t *testing.T) {
		var reported []error
		store := &userStore{raw: secret.Data}
		u := NewUsers(store, UsersByEntry, func(err error) { reported = append(reported, err) })
		for range 10 {
			statusFor(t, u, "stranger")
			time.Sleep(time.Minute)
		}
		if len(reported) != 1 {
			t.Errorf("got %d reports, want 1", len(reported))
		}
	})
}

// A patch of the users changes only the users that change: what cannot be read and
// what others wrote stays.
func TestUsersPatchIsSmall(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		before := someUsers.Draw(t, "users")
		after := before.clone()
		name := rapid.SampledFrom([]string{"new", "a", "b"}).Draw(t, "name")
		after.addToken(name, false, token{SHA256: "ff"})
		was, err := before.encode(UsersByEntry)
		if err != nil {
			t.Fatal(err)
		}
		want, err := after.encode(UsersByEntry)
		if err != nil {
			t.Fatal(err)
		}
		patch, err := usersPatch("1", was, want)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(patch), `"user.`); n != 1 || !strings.Contains(string(patch), `"user.`+name+`"`) {
			t.Fatalf("got %s", patch)
		}
	})
}

func TestTokenInfos(t *testing.T) {
	t.Parallel()
	now := time.Unix(1.7e9, 0)
	var d directory
	d.addToken("b", false, token{SHA256: strings.Repeat("b", 64), Created: now})
	d.addToken("a", true, token{SHA256: strings.Repeat("2", 64), Created: now, Expires: now, Note: "n"})
	d.addToken("a", false, token{SHA256: strings.Repeat("1", 64), Created: now.Add(-day), Expires: now.Add(day)})
	var got []string
	for _, i := range d.infos(now) {
		got = append(got, fmt.Sprint(i.ID, i.User, i.Admin, i.Expired, i.Note))
	}
	want := []string{"111111111111a true false ", "222222222222a true true n", "bbbbbbbbbbbbb false false "}
	for i := range want {
		want[i] = strings.ReplaceAll(want[i], " ", "")
		got[i] = strings.ReplaceAll(got[i], " ", "")
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// switching answers as the users at that moment.
type switching struct{ answer chan error }

func (s switching) Caller(context.Context, string) (Caller, error) {
	err := <-s.answer
	return Caller{Name: "alice"}, err
}
func (s switching) Ready(context.Context) error { return nil }

// A followed log ends when its token is revoked, and not in an outage.
func TestFollowedLogEndsWithItsToken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		answers := make(chan error, 4)
		h := &Handler{Users: switching{answers}}
		ctx, cancel := context.WithCancelCause(t.Context())
		answers <- nil
		answers <- errUnavailable
		answers <- errTokenInvalid
		start := time.Now()
		p := permit{token: "x", name: "alice", allows: func(Caller) error { return nil }}
		endRevoked(ctx, cancel, p, func(ctx context.Context) (Caller, error) { return h.Users.Caller(ctx, p.token) })
		if took := time.Since(start); !errors.Is(context.Cause(ctx), errTokenInvalid) || took != 3*tokenCheckEvery {
			t.Errorf("it ended after %s, context %v", took, context.Cause(ctx))
		}
	})
	synctest.Test(t, func(t *testing.T) {
		answers := make(chan error, 4)
		answers <- nil
		answers <- errTokenInvalid
		h := &Handler{Users: switching{answers}}
		ended, why := h.follows(t, "/api/v2/jobs/alice~train/logs?follow=true")
		if !errors.Is(why, errTokenInvalid) {
			t.Errorf("the request ended with %v", why)
		}
		if ended != tokenCheckEvery {
			t.Errorf("the request ended after %s", ended)
		}
	})
}
