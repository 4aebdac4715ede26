package rest

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"regexp"
	"slices"
	"time"

	"pai.dev/pai/internal/pai"
)

// usersSecret is the Secret with the users, in one of two forms (usersform.go), and
// with their accounts and groups. It has hashes of tokens and passwords, never tokens
// and passwords.
const usersSecret = pai.UsersSecret

// directory lists the users of the REST server.
type directory struct {
	Users []user `json:"users"`
	// groups are those that are stored; see group.
	groups []group
	// virtualClusters each have a group of their name.
	virtualClusters []string
	// storages name the groups whose members can use them.
	storages []pai.Storage
}

type user struct {
	Name string `json:"name,omitempty"`
	// Admin is for servers of v0.10 and for users without an account. Otherwise the
	// groups decide, and Admin follows them.
	Admin  bool    `json:"admin,omitempty"`
	Tokens []token `json:"tokens"`
	// account is what v0.10 does not know; nil if the user has none.
	account *account
}

type token struct {
	// SHA256 is enough for a token, which has 256 random bits, unlike a password.
	SHA256  string    `json:"sha256"`
	Created time.Time `json:"created"`
	// Expires is zero for tokens of v0.10 and older, which do not end.
	Expires time.Time `json:"expires,omitzero"`
	// Note says what the token is for.
	Note string `json:"note,omitempty"`
}

func (t token) expired(now time.Time) bool { return !t.Expires.IsZero() && !now.Before(t.Expires) }

// userPattern is the syntax of label values in Kubernetes.
var userPattern = regexp.MustCompile(`^[a-zA-Z0-9]([a-zA-Z0-9_.-]{0,61}[a-zA-Z0-9])?$`)

func newToken() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails
	return "pai_" + base64.RawURLEncoding.EncodeToString(b)
}

func hashToken(t string) string {
	sum := sha256.Sum256([]byte(t))
	return hex.EncodeToString(sum[:])
}

// holder returns the user who has the token with that hash, and the token. It
// ignores tokens that have expired.
func (d directory) holder(hash string, now time.Time) (Caller, token, bool) {
	for _, u := range d.Users {
		for _, t := range u.Tokens {
			if t.SHA256 == hash && !t.expired(now) {
				return d.caller(u, t), t, true
			}
		}
	}
	return Caller{}, token{}, false
}

// addToken gives a user a token, once. It adds a user who does not exist; admin is
// only for such a user.
func (d *directory) addToken(name string, admin bool, t token) {
	i := slices.IndexFunc(d.Users, func(u user) bool { return u.Name == name })
	if i < 0 {
		i, d.Users = len(d.Users), append(d.Users, user{Name: name, Admin: admin})
	}
	if !slices.ContainsFunc(d.Users[i].Tokens, func(o token) bool { return o.SHA256 == t.SHA256 }) {
		d.Users[i].Tokens = append(d.Users[i].Tokens, t)
	}
}

// clone returns a copy that shares nothing with d.
func (d directory) clone() directory {
	d.Users = slices.Clone(d.Users)
	for i := range d.Users {
		d.Users[i].Tokens = slices.Clone(d.Users[i].Tokens)
		d.Users[i].account = d.Users[i].account.clone()
	}
	d.groups = slices.Clone(d.groups)
	for i := range d.groups {
		d.groups[i] = d.groups[i].clone()
	}
	return d
}
