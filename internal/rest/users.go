package rest

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"regexp"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pai.dev/pai/internal/pai"
)

// usersSecret is the Secret that says who may come in, in one of two forms
// (usersform.go). It holds hashes of tokens, never tokens.
const usersSecret = "rest-server-users"

// directory is everybody who may use the REST server.
type directory struct {
	Users []user `json:"users"`
}

type user struct {
	Name   string  `json:"name,omitempty"`
	Admin  bool    `json:"admin,omitempty"`
	Tokens []token `json:"tokens"`
}

type token struct {
	// SHA256 is enough for a token: it has 256 random bits, unlike a password.
	SHA256  string    `json:"sha256"`
	Created time.Time `json:"created"`
}

// userPattern is what Kubernetes accepts as a label's value.
var userPattern = regexp.MustCompile(`^[a-zA-Z0-9]([a-zA-Z0-9_.-]{0,61}[a-zA-Z0-9])?$`)

func newToken() string {
	b := make([]byte, 32)
	if _, err := rand.Read(b); err != nil {
		panic(err) // crypto/rand never fails on a system that works
	}
	return "pai_" + base64.RawURLEncoding.EncodeToString(b)
}

func hashToken(t string) string {
	sum := sha256.Sum256([]byte(t))
	return hex.EncodeToString(sum[:])
}

// holder returns who has the token with that hash.
func (d directory) holder(hash string) (Caller, bool) {
	for _, u := range d.Users {
		for _, t := range u.Tokens {
			if t.SHA256 == hash {
				return Caller{Name: u.Name, Admin: u.Admin}, true
			}
		}
	}
	return Caller{}, false
}

// Users knows the callers by their tokens. While the API is away it goes on
// with what it read last.
type Users struct {
	cluster Cluster
	form    UsersForm

	mu   sync.Mutex
	dir  directory
	read time.Time // zero: never
}

// NewUsers reads users, in the form that this server's release keeps them in,
// from the cluster's Secret when they are asked for.
func NewUsers(cluster Cluster, form UsersForm) *Users { return &Users{cluster: cluster, form: form} }

const (
	usersFreshFor = 5 * time.Second
	// strangerFreshFor limits what unknown tokens can make the server ask for.
	strangerFreshFor = 500 * time.Millisecond
	usersTimeout     = 2 * time.Second
)

var (
	errNoUsers = errors.New("the users are not known yet")
	errNobody  = errors.New("the secret " + usersSecret + " names nobody")
)

// Caller returns who holds a token; nobody is CodeForbidden. A token that is
// not known may be new, so the Secret is looked at again.
func (u *Users) Caller(ctx context.Context, token string) (Caller, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, age := range []time.Duration{usersFreshFor, strangerFreshFor} {
		if err := u.refresh(ctx, age); err != nil {
			return Caller{}, err
		}
		if c, ok := u.dir.holder(hashToken(token)); ok {
			return c, nil
		}
	}
	return Caller{}, errUnauthorized
}

// Ready reports whether tokens can be told apart.
func (u *Users) Ready(ctx context.Context) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.refresh(ctx, usersFreshFor)
}

// refresh reads the users again if what is known is older than age.
func (u *Users) refresh(ctx context.Context, age time.Duration) error {
	if time.Since(u.read) < age {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, usersTimeout)
	defer cancel()
	secret, err := u.cluster.Clientset().CoreV1().Secrets(pai.SystemNamespace).Get(ctx, usersSecret, metav1.GetOptions{})
	if err == nil {
		var d directory
		if d, err = readDirectory(secret, u.form); err == nil && len(d.Users) == 0 {
			err = errNobody // of this form: whoever was let in so far still is
		}
		if err == nil {
			u.dir, u.read = d, time.Now()
			return nil
		}
	}
	if u.read.IsZero() {
		return pai.Errorf(pai.CodeFailed, "try again in a moment", "%w: %w", errNoUsers, errors.Join(errUnavailable, err))
	}
	u.read = time.Now() // do not let every request wait for an API that is away
	return nil
}
