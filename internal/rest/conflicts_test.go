package rest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"

	"pai.dev/pai/internal/identity"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
)

// contendedStore is a store that others change at the same time.
type contendedStore struct {
	UserStore
	conflicts atomic.Int64 // that are left
	// meanwhile has what is called once, before the next change reads the users.
	meanwhile chan func()
}

func (s *contendedStore) Clientset() kubernetes.Interface {
	select {
	case do := <-s.meanwhile:
		do()
	default:
	}
	return s.UserStore.Clientset()
}

func (s *contendedStore) PatchUnchanged(ctx context.Context, r kube.Ref, patch []byte) error {
	if s.conflicts.Add(-1) >= 0 {
		return errConflict()
	}
	return s.UserStore.PatchUnchanged(ctx, r, patch)
}

func errConflict() error {
	return apierrors.NewConflict(schema.GroupResource{Resource: "secrets"}, usersSecret, errors.New("the object has been modified"))
}

// contend lets others change the users while the server does.
func (w *whole) contend() *contendedStore {
	s := &contendedStore{UserStore: w.memory, meanwhile: make(chan func(), 1)}
	w.handler.Logins.Accounts.Store = s
	return s
}

// passwordRequest is a request with a right password that changes the users.
type passwordRequest struct{ what, method, path, token, body string }

func passwordRequests(boss, ada string) []passwordRequest {
	return []passwordRequest{
		{"login", http.MethodPost, "/api/v2/authn/basic/login", "", `{"username":"boss","password":"secret-boss"}`},
		{"token", http.MethodPost, "/api/v2/tokens/application", boss, ""},
		{"user", http.MethodPut, "/api/v2/users", boss, `{"data":{"username":"bob","email":"bob@example.com"},"patch":true}`},
		{"password", http.MethodPut, "/api/v2/users/me", ada, `{"data":{"username":"ada","oldPassword":"secret-ada","newPassword":"secret-new"},"patch":true}`},
	}
}

// What says nothing about the password is not answered as a wrong one: whose password is
// right tries again, and does not need another one.
func TestRightPasswordIsNotCalledWrong(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		conflicts int64
		full      bool
		want      int
	}{
		"some conflicts":   {conflicts: 3, want: http.StatusOK},
		"only conflicts":   {conflicts: 1 << 30, want: http.StatusServiceUnavailable},
		"no space is left": {full: true, want: http.StatusConflict},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWhole(t, identity.Policy{}, "default")
			boss, ada := w.user(t, "boss", true), w.user(t, "ada", false)
			w.withToken(t, w.accounts, "bob", false)
			if c.full {
				w.fill(t)
			}
			store := w.contend()
			for _, r := range passwordRequests(boss, ada) {
				if c.full && r.what == "password" {
					continue // it ends logins, so there is space
				}
				store.conflicts.Store(c.conflicts)
				resp := w.do(t, r.method, openPAIPrefix+r.path, r.token, r.body)
				var answered struct{ Code, Message string }
				_ = json.NewDecoder(resp.Body).Decode(&answered)
				resp.Body.Close()
				if got := resp.StatusCode; got != c.want && (c.want != http.StatusOK || got != http.StatusCreated) || answered.Code == codeWrongPassword {
					t.Errorf("%s: got %d %+v, want %d", r.what, got, answered, c.want)
				}
				if again := resp.Header.Get("Retry-After"); (again != "") != (c.want == http.StatusServiceUnavailable) {
					t.Errorf("%s: try again after %q", r.what, again)
				}
			}
		})
	}
}

// fill leaves no space for another user or token.
func (w *whole) fill(t *testing.T) {
	t.Helper()
	secret := w.memory.secret(t)
	secret.Data[accountPrefix+"full"] = fmt.Appendf(nil, `{"groups":[],"extension":{"x":%q}}`, strings.Repeat("x", maxUsersBytes))
	if _, err := w.memory.clientset.CoreV1().Secrets(pai.SystemNamespace).Update(t.Context(), secret, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// Writers that start at the same time write at different times, and none waits for long.
func TestConflictsAreTriedAgainAfterAPause(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		pauses := map[time.Duration]bool{}
		for range 20 {
			start, tries := time.Now(), 0
			err := despiteConflicts(t.Context(), func() error { tries++; return fmt.Errorf("write: %w", errConflict()) })
			took := time.Since(start)
			if !errors.Is(err, errUnavailable) || !apierrors.IsConflict(err) || tries != attempts || took > attempts*maxConflictPause {
				t.Fatalf("%d tries in %s: %v", tries, took, err)
			}
			pauses[took] = true
		}
		if len(pauses) < 15 {
			t.Errorf("20 writers waited for %d different times", len(pauses))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
		defer cancel()
		if err := despiteConflicts(ctx, errConflict); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, errUnavailable) {
			t.Errorf("a request that ended: %v", err)
		}
		for _, other := range []error{nil, errTokenInvalid} {
			if err := despiteConflicts(t.Context(), func() error { return other }); !errors.Is(err, other) {
				t.Errorf("got %v, want %v", err, other)
			}
		}
	})
}

// forgetfulStore is a store whose answer about a change is lost once. The next request finds
// what the change has stored.
type forgetfulStore struct {
	UserStore
	lost atomic.Bool
}

func (s *forgetfulStore) PatchUnchanged(ctx context.Context, r kube.Ref, patch []byte) error {
	err := s.UserStore.PatchUnchanged(ctx, r, patch)
	if err == nil && s.lost.CompareAndSwap(true, false) {
		return errConflict()
	}
	return err
}

// A change whose answer was lost succeeded, also if it ended the token or the right that
// it was made with.
func TestLostAnswerIsNotAFailure(t *testing.T) {
	t.Parallel()
	w := newWhole(t, identity.Policy{}, "default")
	boss, second, ada := w.user(t, "boss", true), w.user(t, "second", true), w.user(t, "ada", false)
	s := &forgetfulStore{UserStore: w.memory}
	w.handler.Logins.Accounts.Store = s
	for _, r := range []passwordRequest{
		{"own password", http.MethodPut, "/api/v2/users/me", ada, `{"data":{"username":"ada","oldPassword":"secret-ada","newPassword":"secret-new"},"patch":true}`},
		{"own right", http.MethodPut, "/api/v2/users", second, `{"data":{"username":"second","admin":false},"patch":true}`},
		{"new user", http.MethodPost, "/api/v2/users", boss, `{"username":"new","password":"secret-new","email":"new@example.com","virtualCluster":["default"],"admin":false}`},
	} {
		s.lost.Store(true)
		if status, text := w.ask(t, r.method, openPAIPrefix+r.path, r.token, r.body); status != http.StatusCreated || s.lost.Load() {
			t.Errorf("%s: got %d %s, want it done", r.what, status, text)
		}
	}
}
