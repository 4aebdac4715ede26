package rest

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pai.dev/pai/internal/pai"
)

// Users identifies callers by their tokens. If the API server is unavailable,
// it uses the directory that it read last, for usersTrustedFor.
type Users struct {
	cluster Cluster
	form    UsersForm
	report  func(error)
	reads   singleflight.Group

	mu       sync.Mutex // never held during a read
	dir      directory
	answered time.Time // end of the last read that the store answered; zero if none did
	read     time.Time // end of the last read, also of one that failed
	problem  string    // what the last read left out, which was reported
}

// NewUsers returns the users in the cluster's Secret, which has the form of
// this server's release. report is called with what in it cannot be read, once.
func NewUsers(cluster Cluster, form UsersForm, report func(error)) *Users {
	return &Users{cluster: cluster, form: form, report: report}
}

const (
	usersFreshFor = 5 * time.Second
	// strangerFreshFor limits the reads that unknown tokens cause.
	strangerFreshFor = 500 * time.Millisecond
	usersTimeout     = 2 * time.Second
	// usersWait is how long a user waits for a read before the server uses the
	// directory that it has.
	usersWait = 250 * time.Millisecond
	// usersTrustedFor is how long a token is valid without an answer of the store. An
	// API server is replaced within seconds, and a revoked token ends.
	usersTrustedFor = 10 * time.Minute
)

var (
	errUsersUnknown = errors.New("users: unknown")
	errOtherForm    = errors.New("secret " + usersSecret + " has the form of a newer release")
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
	if c, _, ok := dir.holder(hash, time.Now()); ok {
		return c, nil
	}
	if dir, err = u.directory(ctx, strangerFreshFor, usersTimeout); err != nil {
		return Caller{}, err
	}
	if c, _, ok := dir.holder(hash, time.Now()); ok {
		return c, nil
	}
	return Caller{}, errTokenInvalid
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
	if dir, read, err := u.snapshot(); err == nil && time.Since(read) < age {
		return dir, nil
	}
	// The read is for all callers, so it does not end with the first one.
	done := u.reads.DoChan("", func() (any, error) { return nil, u.refresh(context.WithoutCancel(ctx)) })
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return directory{}, context.Cause(ctx)
		case <-timer.C:
			if dir, _, err := u.snapshot(); err == nil {
				return dir, nil
			}
		case result := <-done:
			dir, _, err := u.snapshot()
			if err != nil {
				return directory{}, pai.Errorf(pai.CodeFailed, "try again in a moment", "%w: %w", err, errors.Join(errUnavailable, result.Err))
			}
			return dir, nil
		}
	}
}

// snapshot returns the users and the time of the last read. They are unknown if the
// store has not answered for usersTrustedFor.
func (u *Users) snapshot() (dir directory, read time.Time, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.answered.IsZero() || time.Since(u.answered) >= usersTrustedFor {
		return directory{}, u.read, errUsersUnknown
	}
	return u.dir, u.read, nil
}

// refresh reads the users. A failed read leaves them as they were.
func (u *Users) refresh(ctx context.Context) error {
	dir, problems, err := u.readSecret(ctx)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.read = time.Now() // also after a failure: not every request waits for the API server
	if err != nil {
		return err
	}
	u.dir, u.answered = dir, u.read
	text := ""
	if problems != nil {
		text = problems.Error()
	}
	if text != u.problem && problems != nil {
		u.report(problems)
	}
	u.problem = text
	return nil
}

// readSecret returns the users that it can read, and what it cannot read. A Secret
// that does not exist has no users: who deleted it wants that no token is valid.
func (u *Users) readSecret(ctx context.Context) (dir directory, problems, err error) {
	ctx, cancel := context.WithTimeout(ctx, usersTimeout)
	defer cancel()
	secret, err := u.cluster.Clientset().CoreV1().Secrets(pai.SystemNamespace).Get(ctx, usersSecret, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return directory{}, nil, nil
	}
	if err != nil {
		return directory{}, nil, err
	}
	if u.form == UsersDocument && formOf(secret) == UsersByEntry {
		return directory{}, nil, errOtherForm // a newer server replaces this one
	}
	dir, problems = readDirectory(secret, u.form)
	return dir, problems, nil
}
