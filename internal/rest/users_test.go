package rest

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"

	"pai.dev/pai/internal/pai"
)

// userStore is an API server with nothing but the Secret of the users. It takes
// a while for each read and counts them.
type userStore struct {
	Cluster
	mu    sync.Mutex
	users directory
	takes time.Duration
	err   error
	reads int
	raw   map[string][]byte // the Secret, instead of users
}

type (
	fakeClientset struct {
		kubernetes.Interface
		store *userStore
	}
	fakeCore struct {
		typedcorev1.CoreV1Interface
		store *userStore
	}
	fakeSecrets struct {
		typedcorev1.SecretInterface
		store *userStore
	}
)

func (s *userStore) Clientset() kubernetes.Interface          { return fakeClientset{store: s} }
func (c fakeClientset) CoreV1() typedcorev1.CoreV1Interface   { return fakeCore{store: c.store} }
func (c fakeCore) Secrets(string) typedcorev1.SecretInterface { return fakeSecrets{store: c.store} }
func (f fakeSecrets) Get(ctx context.Context, _ string, _ metav1.GetOptions) (*corev1.Secret, error) {
	s := f.store
	s.mu.Lock()
	s.reads++
	takes, err := s.takes, s.err
	data, encodeErr := s.users.encode(UsersByEntry)
	if s.raw != nil {
		data = s.raw
	}
	s.mu.Unlock()
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return &corev1.Secret{Data: data}, errors.Join(err, encodeErr)
}

func (s *userStore) set(takes time.Duration, err error, tokens ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.takes, s.err, s.users = takes, err, directory{}
	for _, t := range tokens {
		s.users.addToken("user-"+t, true, token{SHA256: hashToken(t)})
	}
}

// ask asks for the holder of a token and returns how long that took.
func ask(t *testing.T, u *Users, token string) (known bool, took time.Duration) {
	t.Helper()
	start := time.Now()
	c, err := u.Caller(t.Context(), token)
	if err != nil && !errors.Is(err, errUnauthorized) {
		t.Errorf("token %s: %v", token, err)
	}
	return c.Name == "user-"+token, time.Since(start)
}

func TestUsersAreNotDelayedByStrangersOrSlowReads(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &userStore{}
		store.set(0, nil, "alice")
		u := NewUsers(store, UsersByEntry, func(error) {})
		if known, _ := ask(t, u, "alice"); !known {
			t.Fatal("alice is unknown")
		}
		store.set(time.Hour, nil, "alice") // from now on every read ends by its timeout
		for range 200 {
			go ask(t, u, "stranger")
			time.Sleep(100 * time.Millisecond)
			if known, took := ask(t, u, "alice"); !known || took > usersWait {
				t.Fatalf("with strangers: alice is known %t after %s", known, took)
			}
		}
		for range 10 {
			time.Sleep(2 * usersFreshFor) // the directory is outdated
			if known, took := ask(t, u, "alice"); !known || took != usersWait {
				t.Fatalf("with a slow read: alice is known %t after %s", known, took)
			}
		}
		synctest.Wait()
		time.Sleep(2 * usersTimeout) // the last strangers get their answer
	})
}

func TestStrangersCauseFewReads(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &userStore{}
		store.set(10*time.Millisecond, nil, "alice")
		u := NewUsers(store, UsersByEntry, func(error) {})
		for range 1000 {
			go func() {
				if known, _ := ask(t, u, "stranger"); known {
					t.Error("a stranger is known")
				}
			}()
			time.Sleep(10 * time.Millisecond)
		}
		synctest.Wait()
		if store.reads < 10 || store.reads > 21 {
			t.Errorf("%d reads within 10 s, want one per 0.5 s", store.reads)
		}
		time.Sleep(2 * usersTimeout)
	})
}

func TestTokensAreAddedAndRevoked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &userStore{}
		store.set(10*time.Millisecond, nil, "alice")
		u := NewUsers(store, UsersByEntry, func(error) {})
		if known, _ := ask(t, u, "alice"); !known {
			t.Fatal("alice is unknown")
		}
		store.set(10*time.Millisecond, nil, "bob")
		time.Sleep(strangerFreshFor)
		if known, _ := ask(t, u, "bob"); !known {
			t.Error("a new token is unknown after 0.5 s")
		}
		if known, _ := ask(t, u, "alice"); known {
			t.Error("a revoked token is accepted after a read")
		}
		store.set(10*time.Millisecond, nil, "alice")
		time.Sleep(usersFreshFor)
		if known, _ := ask(t, u, "bob"); known {
			t.Error("a revoked token is accepted after 5 s")
		}
	})
}

func TestUsersDuringAnOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &userStore{}
		store.set(0, errors.New("connection refused"))
		u := NewUsers(store, UsersByEntry, func(error) {})
		_, err := u.Caller(t.Context(), "alice")
		if !errors.Is(err, errUnavailable) || pai.CodeOf(err) != pai.CodeFailed || strings.Contains(err.Error(), "refused") || !strings.Contains(pai.DetailsOf(err), "refused") {
			t.Errorf("before the first read: %v, with the details %q", err, pai.DetailsOf(err))
		}
		if err := u.Ready(t.Context()); !errors.Is(err, errUsersUnknown) {
			t.Errorf("ready before the first read: %v", err)
		}
		store.set(0, nil, "alice")
		if known, _ := ask(t, u, "alice"); !known || u.Ready(t.Context()) != nil {
			t.Error("alice is unknown after the outage")
		}
		store.set(0, errors.New("connection refused"))
		for range 9 {
			time.Sleep(time.Minute)
			if known, took := ask(t, u, "alice"); !known || took > 0 {
				t.Errorf("during an outage: alice is known %t after %s", known, took)
			}
		}
		store.set(0, nil, "alice")
		time.Sleep(usersFreshFor)
		if known, _ := ask(t, u, "alice"); !known {
			t.Error("after the outage, alice is unknown")
		}
		store.set(time.Hour, nil)
		time.Sleep(time.Minute)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := u.Caller(ctx, "alice"); !errors.Is(err, context.Canceled) {
			t.Errorf("a canceled request: %v", err)
		}
		time.Sleep(2 * usersTimeout)
	})
}

// A caller whose request ends while the users are read does not end the read: a
// revoked token is refused however often its holder disconnects.
func TestCallerThatLeavesDoesNotEndTheRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &userStore{}
		store.set(100*time.Millisecond, nil, "mallory")
		u := NewUsers(store, UsersByEntry, func(error) {})
		if known, _ := ask(t, u, "mallory"); !known {
			t.Fatal("mallory is unknown")
		}
		store.set(100*time.Millisecond, nil, "alice")
		for range 10 {
			time.Sleep(usersFreshFor)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			_, _ = u.Caller(ctx, "mallory")
			cancel()
			time.Sleep(200 * time.Millisecond)
			if known, took := ask(t, u, "mallory"); known || took > time.Second {
				t.Fatalf("mallory is known %t after %s", known, took)
			}
		}
	})
}
