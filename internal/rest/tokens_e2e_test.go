//go:build e2e

package rest

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientrest "k8s.io/client-go/rest"

	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/test/kubetest"
)

// Tokens on a real API: created, limited, revoked, in both forms, beside what another
// writer does, and after the Secret was deleted.
func TestTokensOnARealAPI(t *testing.T) {
	t.Parallel()
	cluster := kubetest.Start(t)
	ctx, c := t.Context(), cluster.Client
	access, err := EnsureSecrets(ctx, c, Bootstrap{Endpoint: Endpoint{Addresses: []string{"10.1.2.3"}, Port: 9186}, Users: UsersDocument, Note: "test"})
	if err != nil {
		t.Fatal(err)
	}
	tokens := Tokens{Cluster: c}
	users := NewUsers(c, UsersByEntry, func(err error) { t.Errorf("left out: %v", err) })
	want := func(what, token string, status int) {
		t.Helper()
		users.mu.Lock()
		users.read = time.Time{} // as if 5 s had passed
		users.mu.Unlock()
		if got := statusFor(t, users, token); got != status {
			t.Errorf("%s: got %d, want %d", what, got, status)
		}
	}
	want("the first token", access.Token, http.StatusOK)
	for _, form := range []UsersForm{UsersDocument, UsersByEntry} {
		if err := (UsersMigration{To: form}).Do(ctx, c); err != nil {
			t.Fatal(err)
		}
		text, info, err := tokens.Create(ctx, NewToken{User: "ada", Note: "n", Life: TokenLife})
		if err != nil || info.User != "ada" || info.Admin || info.Expires.Sub(info.Created) != TokenLife {
			t.Fatalf("got %+v, %v", info, err)
		}
		want("created", text, http.StatusOK)
		limited, err := tokens.Limit(ctx, info.ID, day)
		if err != nil || limited.Expires.Sub(info.Created).Round(time.Hour) != day || limited.Note != "n" {
			t.Errorf("limited: %+v, %v", limited, err)
		}
		if _, err := tokens.Revoke(ctx, []string{info.ID, "nobody"}); pai.CodeOf(err) != pai.CodeNotFound {
			t.Errorf("an unknown ID is revoked: %v", err)
		}
		want("not revoked with an unknown one", text, http.StatusOK)
		if revoked, err := tokens.Revoke(ctx, []string{info.ID}); err != nil || len(revoked) != 1 || revoked[0].ID != info.ID {
			t.Errorf("revoked %+v, %v", revoked, err)
		}
		want("revoked", text, http.StatusUnauthorized)
		want("another user's", access.Token, http.StatusOK)
		if all, err := tokens.List(ctx); err != nil || len(all) != 1 || all[0].User != AdminUser || all[0].Note != "test" {
			t.Errorf("listed %+v, %v", all, err)
		}
		secret, err := getSecret(ctx, c, usersSecret)
		if err != nil || formOf(secret) != form {
			t.Errorf("the form is %q, want %q", formOf(secret), form)
		}
	}

	t.Run("a concurrent revocation is not undone", func(t *testing.T) {
		text, info, err := tokens.Create(ctx, NewToken{User: AdminUser, Life: day})
		if err != nil {
			t.Fatal(err)
		}
		busy := clientrest.CopyConfig(cluster.Config)
		var once atomic.Bool
		busy.Wrap(func(next http.RoundTripper) http.RoundTripper {
			return roundTripper(func(r *http.Request) (*http.Response, error) {
				if r.Method == http.MethodPatch && once.CompareAndSwap(false, true) {
					if _, err := tokens.Revoke(context.WithoutCancel(ctx), []string{info.ID}); err != nil {
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
		again, err := EnsureSecrets(ctx, client, Bootstrap{Endpoint: Endpoint{Addresses: []string{"10.1.2.3"}, Port: 9186}, Users: UsersByEntry})
		if err != nil || !once.Load() {
			t.Fatalf("%v (concurrent revocation: %v)", err, once.Load())
		}
		want("revoked meanwhile", text, http.StatusUnauthorized)
		want("of the other host", again.Token, http.StatusOK)
	})

	t.Run("a token is renewed in time", func(t *testing.T) {
		b := Bootstrap{Endpoint: Endpoint{Addresses: []string{"10.1.2.3"}, Port: 9186}, Users: UsersByEntry, Saved: access}
		for after, renewed := range map[time.Duration]bool{TokenLife / 2: false, TokenLife * 3 / 4: true} {
			got, err := ensureSecrets(ctx, c, b, time.Now().Add(after))
			if err != nil || (got.Token != access.Token) != renewed {
				t.Errorf("after %s: renewed %t, %v", after, got.Token != access.Token, err)
			}
		}
		want("the earlier one", access.Token, http.StatusOK)
	})

	if err := c.Clientset().CoreV1().Secrets(pai.SystemNamespace).Delete(ctx, usersSecret, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	want("after the Secret was deleted", access.Token, http.StatusUnauthorized)
	text, _, err := tokens.Create(ctx, NewToken{User: AdminUser, Admin: true, Life: day})
	if err != nil {
		t.Fatal(err)
	}
	want("created again", text, http.StatusOK)
	want("of the deleted Secret", access.Token, http.StatusUnauthorized)
}
