//go:build e2e

package rest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	clientrest "k8s.io/client-go/rest"

	"pai.dev/pai/internal/kube"
	"pai.dev/pai/test/kubetest"
)

// The migration on a real API: done, repeated, undone, after a lost answer, and
// with a concurrent write.
func TestUsersMigrationOnARealAPI(t *testing.T) {
	t.Parallel()
	cluster := kubetest.Start(t)
	ctx, c := t.Context(), cluster.Client
	access, err := EnsureSecrets(ctx, c, Bootstrap{Endpoint: Endpoint{Addresses: []string{"10.1.2.3"}, Port: 9186}, Users: UsersDocument})
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, form UsersForm) {
		t.Helper()
		s, err := getSecret(ctx, c, usersSecret)
		if err != nil || formOf(s) != form {
			t.Errorf("%s: the form is %q, want %q (error %v)", what, formOf(s), form, err)
		}
		for _, m := range []UsersMigration{{To: UsersDocument}, {To: UsersByEntry}} {
			if done, err := m.Done(ctx, c); err != nil || done != (m.To == form) {
				t.Errorf("%s: migration to %s is done: %v, %v", what, m.To, done, err)
			}
		}
		if who, err := NewUsers(c, form, func(error) {}).Caller(ctx, access.Token); err != nil || who.Name != AdminUser || !who.Admin {
			t.Errorf("%s: the administrator is %+v, %v", what, who, err)
		}
	}
	check("at first", UsersDocument)
	for _, to := range []UsersForm{UsersByEntry, UsersByEntry, UsersDocument, UsersByEntry} {
		if err := (UsersMigration{To: to}).Do(ctx, c); err != nil {
			t.Fatal(err)
		}
		check("migrated to "+string(to), to)
		// Access that is known is good whatever the form, and nothing is written.
		again, err := EnsureSecrets(ctx, c, Bootstrap{Endpoint: Endpoint{Addresses: []string{"10.1.2.3"}, Port: 9186}, Users: UsersByEntry, Saved: access})
		if err != nil || again.Token != access.Token {
			t.Errorf("a token that was good is replaced: %v", err)
		}
		check("after its server was prepared", to)
	}
	if _, err := EnsureSecrets(ctx, c, Bootstrap{Endpoint: Endpoint{Addresses: []string{"10.1.2.3"}, Port: 9186}, Users: UsersDocument, Saved: access}); err == nil {
		t.Error("a server of the older form is prepared on users that it cannot read")
	}

	t.Run("the answer is lost", func(t *testing.T) {
		lossy := clientrest.CopyConfig(cluster.Config)
		var lost atomic.Bool
		lossy.Wrap(func(next http.RoundTripper) http.RoundTripper {
			return roundTripper(func(r *http.Request) (*http.Response, error) {
				resp, err := next.RoundTrip(r)
				if err == nil && r.Method == http.MethodPatch && lost.CompareAndSwap(false, true) {
					resp.Body.Close()
					return nil, io.ErrUnexpectedEOF
				}
				return resp, err
			})
		})
		client, err := kube.FromConfig(lossy)
		if err != nil {
			t.Fatal(err)
		}
		bounded, cancel := context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		if err := (UsersMigration{To: UsersDocument}).Do(bounded, client); err != nil || !lost.Load() {
			t.Fatalf("%v (answer lost: %v)", err, lost.Load())
		}
		check("with an answer lost", UsersDocument)
	})
	t.Run("killed before it wrote", func(t *testing.T) {
		killed := clientrest.CopyConfig(cluster.Config)
		stop, cancel := context.WithCancel(ctx)
		killed.Wrap(func(next http.RoundTripper) http.RoundTripper {
			return roundTripper(func(r *http.Request) (*http.Response, error) {
				if r.Method == http.MethodPatch {
					cancel()
					return nil, errors.New("killed")
				}
				return next.RoundTrip(r)
			})
		})
		client, err := kube.FromConfig(killed)
		if err != nil {
			t.Fatal(err)
		}
		if err := (UsersMigration{To: UsersByEntry}).Do(stop, client); err == nil {
			t.Fatal("it says that it is done")
		}
		check("killed", UsersDocument)
		if err := (UsersMigration{To: UsersByEntry}).Do(ctx, c); err != nil {
			t.Fatal(err)
		}
		check("and run again", UsersByEntry)
	})
	t.Run("a concurrent write", func(t *testing.T) {
		busy := clientrest.CopyConfig(cluster.Config)
		var once atomic.Bool
		busy.Wrap(func(next http.RoundTripper) http.RoundTripper {
			return roundTripper(func(r *http.Request) (*http.Response, error) {
				if r.Method == http.MethodPatch && once.CompareAndSwap(false, true) {
					s, err := getSecret(ctx, c, usersSecret)
					if err != nil {
						return nil, err
					}
					d, err := readDirectory(s, UsersByEntry)
					if err != nil {
						return nil, err
					}
					d.addToken("late", true, token{SHA256: hashToken("late")})
					data, err := d.encode(UsersByEntry)
					if err != nil {
						return nil, err
					}
					if err := applySecret(ctx, c, usersSecret, "Opaque", data); err != nil {
						return nil, err
					}
				}
				return next.RoundTrip(r)
			})
		})
		client, err := kube.FromConfig(busy)
		if err != nil {
			t.Fatal(err)
		}
		if err := (UsersMigration{To: UsersDocument}).Do(ctx, client); err != nil || !once.Load() {
			t.Fatalf("%v (concurrent write: %v)", err, once.Load())
		}
		if who, err := NewUsers(c, UsersDocument, func(error) {}).Caller(ctx, "late"); err != nil || who.Name != "late" {
			t.Errorf("who came meanwhile is lost: %+v, %v", who, err)
		}
		check("with another writer", UsersDocument)
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
