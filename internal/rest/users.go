package rest

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pai.dev/pai/internal/pai"
)

// Users identifies callers by their tokens. If the API server is unavailable,
// it uses the directory that it read last.
type Users struct {
	cluster Cluster
	form    UsersForm
	reads   singleflight.Group

	mu    sync.Mutex // never held during a read
	dir   directory
	known bool      // dir was read at least once
	read  time.Time // end of the last read, also of one that failed
}

// NewUsers returns the users in the cluster's Secret, which has the form of
// this server's release.
func NewUsers(cluster Cluster, form UsersForm) *Users { return &Users{cluster: cluster, form: form} }

const (
	usersFreshFor = 5 * time.Second
	// strangerFreshFor limits the reads that unknown tokens cause.
	strangerFreshFor = 500 * time.Millisecond
	usersTimeout     = 2 * time.Second
	// usersWait is how long a user waits for a read before the server uses the
	// directory that it has.
	usersWait = 250 * time.Millisecond
)

var (
	errUsersUnknown = errors.New("users: unknown")
	errNoUsers      = errors.New("secret " + usersSecret + " has no users")
)

// Caller returns the holder of a token. The error is CodeForbidden if no user
// has it. An unknown token might be new, so Caller reads the Secret again; only
// callers with unknown tokens wait for that.
func (u *Users) Caller(ctx context.Context, token string) (Caller, error) {
	hash := hashToken(token)
	dir, err := u.directory(ctx, usersFreshFor, usersWait)
	if err != nil {
		return Caller{}, err
	}
	if c, ok := dir.holder(hash); ok {
		return c, nil
	}
	if dir, err = u.directory(ctx, strangerFreshFor, usersTimeout); err != nil {
		return Caller{}, err
	}
	if c, ok := dir.holder(hash); ok {
		return c, nil
	}
	return Caller{}, errUnauthorized
}

// Ready returns an error if the users are unknown.
func (u *Users) Ready(ctx context.Context) error {
	_, err := u.directory(ctx, usersFreshFor, usersWait)
	return err
}

// directory returns the users. If the last read is older than age, it reads
// them again, together with all other callers. If that takes longer than wait,
// it returns the users that are known.
func (u *Users) directory(ctx context.Context, age, wait time.Duration) (directory, error) {
	dir, known, read := u.snapshot()
	if known && time.Since(read) < age {
		return dir, nil
	}
	// The read is for all callers, so it does not end with the first one.
	done := u.reads.DoChan("", func() (any, error) { return nil, u.refresh(context.WithoutCancel(ctx)) })
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return dir, context.Cause(ctx)
		case <-timer.C:
			if known {
				return dir, nil
			}
		case result := <-done:
			dir, _, _ = u.snapshot()
			return dir, result.Err
		}
	}
}

func (u *Users) snapshot() (dir directory, known bool, read time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.dir, u.known, u.read
}

// refresh reads the users. A failed read is an error only if no users are known.
func (u *Users) refresh(ctx context.Context) error {
	dir, err := u.readSecret(ctx)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.read = time.Now() // also after a failure: not every request waits for the API server
	if err == nil {
		u.dir, u.known = dir, true
	}
	if !u.known {
		return pai.Errorf(pai.CodeFailed, "try again in a moment", "%w: %w", errUsersUnknown, errors.Join(errUnavailable, err))
	}
	return nil
}

func (u *Users) readSecret(ctx context.Context) (directory, error) {
	ctx, cancel := context.WithTimeout(ctx, usersTimeout)
	defer cancel()
	secret, err := u.cluster.Clientset().CoreV1().Secrets(pai.SystemNamespace).Get(ctx, usersSecret, metav1.GetOptions{})
	if err != nil {
		return directory{}, err
	}
	dir, err := readDirectory(secret, u.form)
	if err == nil && len(dir.Users) == 0 {
		err = errNoUsers // in this form: the known users stay
	}
	return dir, err
}
