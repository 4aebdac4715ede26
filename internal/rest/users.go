package rest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pai.dev/pai/internal/identity"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/poll"
)

// Users identifies callers by their tokens. If the API server is unavailable,
// it uses the directory that it read last, for usersTrustedFor.
type Users struct {
	cluster         Cluster
	form            UsersForm
	virtualClusters []string
	storages        []pai.Storage
	report          func(error)
	reads           singleflight.Group

	mu       sync.Mutex // never held during a read
	dir      directory
	answered time.Time // end of the last read that the store answered; zero if none did
	began    time.Time // start of that read
	read     time.Time // end of the last read, also of one that failed
	problem  string    // what the last read left out, which was reported
	linkKey  []byte    // of the last read
}

// NewUsers returns the users in the cluster's Secret, which has the form of
// this server's release. report is called with what in it cannot be read, once.
func NewUsers(cluster Cluster, form UsersForm, report func(error)) *Users {
	return &Users{cluster: cluster, form: form, report: report}
}

// WithVirtualClusters sets the virtual clusters: each has a group.
func (u *Users) WithVirtualClusters(names []string) *Users {
	u.virtualClusters = names
	return u
}

// WithStorages sets the storages: each names groups that can use it.
func (u *Users) WithStorages(storages []pai.Storage) *Users {
	u.storages = storages
	return u
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
	// newTokenFor is how long another server might not know a token that was just made.
	newTokenFor = 10 * time.Second
)

var (
	errUsersUnknown = errors.New("users: unknown")
	errOtherForm    = errors.New("secret " + usersSecret + " has the form of a newer release")
)

// Caller returns the holder of a token. The error is CodeForbidden if no user
// has it. An unknown token might be new, so Caller reads the Secret again; only
// callers with unknown tokens wait for that. A token that says that another server
// made it just now waits for a read that begins after the request.
func (u *Users) Caller(ctx context.Context, token string) (Caller, error) {
	hash, arrived := hashToken(token), time.Now()
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
	if claims, ok := identity.ReadClaims(token); ok && arrived.Sub(claims.Issued).Abs() < newTokenFor {
		if dir, err = u.since(ctx, arrived); err != nil {
			return Caller{}, err
		}
		if c, _, ok := dir.holder(hash, time.Now()); ok {
			return c, nil
		}
	}
	return Caller{}, errTokenInvalid
}

// since returns the users as a read found them that began after a moment. It causes no
// more reads than unknown tokens do.
func (u *Users) since(ctx context.Context, moment time.Time) (directory, error) {
	for {
		dir, err := u.directory(ctx, strangerFreshFor, usersTimeout)
		if err != nil {
			return dir, err
		}
		u.mu.Lock()
		began := u.began
		u.mu.Unlock()
		if began.After(moment) || time.Since(moment) > usersTimeout {
			return dir, nil
		}
		if err := poll.Sleep(ctx, strangerFreshFor/4); err != nil {
			return dir, err
		}
	}
}

// current returns the users as they are stored now. Callers are limited: each call can
// be a read.
func (u *Users) current(ctx context.Context) (directory, error) {
	moment := time.Now()
	for {
		dir, err := u.directory(ctx, 0, usersTimeout)
		if err != nil {
			return dir, err
		}
		u.mu.Lock()
		began := u.began
		u.mu.Unlock()
		if !began.Before(moment) {
			return dir, nil
		}
		if time.Since(moment) > 2*usersTimeout {
			return dir, pai.Errorf(pai.CodeFailed, "try again in a moment", "read the users: %w", errUnavailable)
		}
		if err := poll.Sleep(ctx, strangerFreshFor/10); err != nil {
			return dir, err
		}
	}
}

// Accounts returns the accounts of these users. What they change is known here at once.
func (u *Users) Accounts(store UserStore) Accounts {
	return Accounts{Store: store, VirtualClusters: u.virtualClusters, Storages: u.storages, Read: u.current,
		Changed: func(ctx context.Context) { _, _ = u.current(ctx) }}
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
				return directory{}, unknown(err, result.Err)
			}
			return dir, nil
		}
	}
}

// unknown is the error of users that cannot be read. Anyone can cause it, so it says nothing
// of the reason.
func unknown(err, cause error) error {
	if cause == nil {
		cause = err
	}
	return &pai.Error{Code: pai.CodeFailed, Next: "try again in a moment", Details: cause.Error(), Err: fmt.Errorf("%w: %w", err, &hiddenError{errUnavailable, cause})}
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
	began := time.Now()
	dir, key, problems, err := u.readSecret(ctx)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.read = time.Now() // also after a failure: not every request waits for the API server
	if err != nil {
		return err
	}
	u.dir, u.linkKey, u.answered, u.began = dir, key, u.read, began
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
func (u *Users) readSecret(ctx context.Context) (dir directory, linkKey []byte, problems, err error) {
	ctx, cancel := context.WithTimeout(ctx, usersTimeout)
	defer cancel()
	secret, err := u.cluster.Clientset().CoreV1().Secrets(pai.SystemNamespace).Get(ctx, usersSecret, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return directory{virtualClusters: u.virtualClusters, storages: u.storages}, nil, nil, nil
	}
	if err != nil {
		return directory{}, nil, nil, err
	}
	if u.form == UsersDocument && formOf(secret) == UsersByEntry {
		return directory{}, nil, nil, errOtherForm // a newer server replaces this one
	}
	dir, problems = readDirectory(secret, u.form)
	dir.virtualClusters, dir.storages = u.virtualClusters, u.storages
	return dir, secret.Data[linkKeyKey], problems, nil
}
