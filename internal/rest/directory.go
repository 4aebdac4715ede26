package rest

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"regexp"
	"time"
)

// usersSecret is the Secret with the users, in one of two forms (usersform.go).
// It has hashes of tokens, never tokens.
const usersSecret = "rest-server-users"

// directory lists the users of the REST server.
type directory struct {
	Users []user `json:"users"`
}

type user struct {
	Name   string  `json:"name,omitempty"`
	Admin  bool    `json:"admin,omitempty"`
	Tokens []token `json:"tokens"`
}

type token struct {
	// SHA256 is enough for a token, which has 256 random bits, unlike a password.
	SHA256  string    `json:"sha256"`
	Created time.Time `json:"created"`
}

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

// holder returns the user who has the token with that hash.
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

// addToken gives a user a token. A user who does not exist becomes an
// administrator.
func (d *directory) addToken(name string, t token) {
	for i := range d.Users {
		if d.Users[i].Name == name {
			d.Users[i].Tokens = append(d.Users[i].Tokens, t)
			return
		}
	}
	d.Users = append(d.Users, user{Name: name, Admin: true, Tokens: []token{t}})
}
