package rest

import (
	"context"
	"slices"
	"strings"
	"time"

	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
)

const (
	// TokenLife is the life of a token if none is given.
	TokenLife = 90 * 24 * time.Hour
	// MaxTokenLife is the longest life of a token.
	MaxTokenLife = 365 * 24 * time.Hour
	// tokenIDLength is the length of an ID: enough that it is unique, and far too little
	// to guess a token.
	tokenIDLength = 12
	maxNote       = 100
)

// TokenInfo describes a token of the REST server, without the token.
type TokenInfo struct {
	// ID is the beginning of the hash of the token, so also older tokens have one.
	ID      string    `json:"id"`
	User    string    `json:"user"`
	Admin   bool      `json:"admin"`
	Note    string    `json:"note,omitempty"`
	Created time.Time `json:"created"`
	// Expires is zero if the token does not end.
	Expires time.Time `json:"expires,omitzero"`
	Expired bool      `json:"expired"`
}

// NewToken describes a token to create.
type NewToken struct {
	User string
	// Admin makes a user who does not exist an administrator.
	Admin bool
	Note  string
	Life  time.Duration
}

// Tokens changes and lists the tokens of the REST server in the cluster.
type Tokens struct{ Cluster *kube.Client }

// List returns all tokens by user and time. If some users cannot be read, it returns
// the tokens of the others and an error.
func (t Tokens) List(ctx context.Context) ([]TokenInfo, error) {
	secret, err := getSecret(ctx, t.Cluster, usersSecret)
	if err != nil {
		return nil, err
	}
	d, problems := readDirectory(secret, UsersByEntry)
	if problems != nil {
		problems = pai.Errorf(pai.CodeFailed, "repair or delete these entries with kubectl", "users that cannot be read: %w", problems)
	}
	return d.infos(time.Now()), problems
}

// Create adds a token and returns it. The cluster stores its hash alone.
func (t Tokens) Create(ctx context.Context, n NewToken) (string, TokenInfo, error) {
	switch {
	case !userPattern.MatchString(n.User):
		return "", TokenInfo{}, pai.Errorf(pai.CodeInvalid, "", "invalid user name %q", n.User)
	case n.Life <= 0 || n.Life > MaxTokenLife:
		return "", TokenInfo{}, invalidLife(n.Life)
	case len(n.Note) > maxNote || strings.ContainsFunc(n.Note, func(r rune) bool { return r < ' ' }):
		return "", TokenInfo{}, pai.Errorf(pai.CodeInvalid, "", "a note has at most %d bytes and no control characters", maxNote)
	}
	text, now := newToken(), time.Now()
	fresh := token{SHA256: hashToken(text), Created: now.UTC(), Expires: now.Add(n.Life).UTC(), Note: n.Note}
	var info TokenInfo
	err := changeUsers(ctx, t.Cluster, UsersByEntry, func(d *directory) error {
		d.addToken(n.User, n.Admin, fresh)
		all := d.infos(now)
		info = all[slices.IndexFunc(all, func(i TokenInfo) bool { return i.ID == fresh.id() })]
		return nil
	})
	return text, info, err
}

// Revoke deletes tokens by their IDs: all of them, or none if one does not exist.
// Servers refuse them after their next read, within seconds.
func (t Tokens) Revoke(ctx context.Context, ids []string) ([]TokenInfo, error) {
	var revoked []TokenInfo
	err := changeUsers(ctx, t.Cluster, UsersByEntry, func(d *directory) error {
		revoked = slices.DeleteFunc(d.infos(time.Now()), func(i TokenInfo) bool { return !slices.Contains(ids, i.ID) })
		for _, id := range ids {
			if !d.eachToken(id, func(*token) {}) {
				return tokenNotFound(id)
			}
		}
		for i := range d.Users {
			d.Users[i].Tokens = slices.DeleteFunc(d.Users[i].Tokens, func(o token) bool { return slices.Contains(ids, o.id()) })
		}
		return nil
	})
	return revoked, err
}

// EndAll deletes all tokens and returns their number. Users keep their passwords and
// rights.
func (t Tokens) EndAll(ctx context.Context) (int, error) { return endAllTokens(ctx, t.Cluster) }

func endAllTokens(ctx context.Context, store UserStore) (n int, err error) {
	secret, err := getSecret(ctx, store, usersSecret)
	if err != nil || secret.ResourceVersion == "" {
		return 0, err
	}
	err = changeUsers(ctx, store, UsersByEntry, func(d *directory) error {
		n = len(d.infos(time.Now()))
		for i := range d.Users {
			d.Users[i].Tokens = []token{}
		}
		return nil
	})
	return n, err
}

// Limit lets a token end after a time from now.
func (t Tokens) Limit(ctx context.Context, id string, life time.Duration) (TokenInfo, error) {
	if life <= 0 || life > MaxTokenLife {
		return TokenInfo{}, invalidLife(life)
	}
	var info TokenInfo
	err := changeUsers(ctx, t.Cluster, UsersByEntry, func(d *directory) error {
		if !d.eachToken(id, func(o *token) { o.Expires = time.Now().Add(life).UTC() }) {
			return tokenNotFound(id)
		}
		all := d.infos(time.Now())
		info = all[slices.IndexFunc(all, func(i TokenInfo) bool { return i.ID == id })]
		return nil
	})
	return info, err
}

func invalidLife(life time.Duration) error {
	const day = 24 * time.Hour
	return pai.Errorf(pai.CodeInvalid, "", "a token lives for 1 to %d days, not for %d", MaxTokenLife/day, life/day)
}

func tokenNotFound(id string) error {
	return pai.Errorf(pai.CodeNotFound, "for the IDs, run: paictl user token list", "token %q not found", id)
}

// id is the public name of a token.
func (t token) id() string { return t.SHA256[:min(tokenIDLength, len(t.SHA256))] }

// eachToken calls do for the tokens with an ID. It returns false if there is none.
func (d *directory) eachToken(id string, do func(*token)) (found bool) {
	for i := range d.Users {
		for j := range d.Users[i].Tokens {
			if t := &d.Users[i].Tokens[j]; t.id() == id {
				do(t)
				found = true
			}
		}
	}
	return found
}

// infos lists all tokens.
func (d directory) infos(now time.Time) []TokenInfo {
	infos := []TokenInfo{}
	for _, u := range d.Users {
		for _, t := range u.Tokens {
			infos = append(infos, TokenInfo{ID: t.id(), User: u.Name, Admin: u.Admin, Note: t.Note,
				Created: t.Created, Expires: t.Expires, Expired: t.expired(now)})
		}
	}
	slices.SortStableFunc(infos, func(a, b TokenInfo) int {
		if a.User != b.User {
			return strings.Compare(a.User, b.User)
		}
		return a.Created.Compare(b.Created)
	})
	return infos
}
