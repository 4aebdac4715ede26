package rest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"pai.dev/pai/internal/identity"
	"pai.dev/pai/internal/pai"
)

const (
	// loginLife is how long a login is valid if the client does not say.
	loginLife    = 7 * 24 * time.Hour
	minLoginLife = time.Minute
	// maxLogins and maxApplications are tokens of one user. The oldest login ends.
	maxLogins       = 50
	maxApplications = 50

	// hashesAtOnce limits the memory of passwords, which take 46 MiB each.
	hashesAtOnce = 2
	// Wrong passwords of one user, and logins of a server.
	failuresPerMinute = 10
	loginsPerSecond   = 10
	loginBurst        = 20
)

// hashed runs f, which takes the memory of a password, after others have ended. The
// errors of f are those of package identity.
func (a Accounts) hashed(ctx context.Context, f func() error) error {
	if a.Hashing == nil {
		return f()
	}
	select {
	case a.Hashing <- struct{}{}:
		defer func() { <-a.Hashing }()
		return f()
	case <-ctx.Done():
		return pai.Errorf(pai.CodeFailed, "try again in a moment", "wait for other passwords: %w", errors.Join(errBusy, context.Cause(ctx)))
	}
}

func (a Accounts) hashPassword(ctx context.Context, password string) (string, error) {
	hash := ""
	err := a.hashed(ctx, func() (err error) {
		hash, err = identity.HashPassword(password)
		return err
	})
	return hash, err
}

// Logins checks passwords and makes tokens. It slows down who guesses.
type Logins struct {
	Accounts Accounts

	mu       sync.Mutex
	all      *rate.Limiter
	failures map[string]*rate.Limiter // by user
}

// NewLogins returns the logins of a server.
func NewLogins(a Accounts) *Logins {
	if a.Hashing == nil {
		a.Hashing = make(chan struct{}, hashesAtOnce)
	}
	return &Logins{Accounts: a, all: rate.NewLimiter(loginsPerSecond, loginBurst), failures: map[string]*rate.Limiter{}}
}

// Login returns a token for a user with a password, and the user.
func (l *Logins) Login(ctx context.Context, name, password string, life time.Duration) (string, UserInfo, error) {
	if life == 0 {
		life = loginLife
	}
	if life < minLoginLife || life > loginLife {
		return "", UserInfo{}, invalidParameters("a login is valid for %s to %s", minLoginLife, loginLife)
	}
	if !l.all.Allow() || l.blocked(name) {
		return "", UserInfo{}, pai.Errorf(pai.CodeFailed, "try again in a minute", "%w: logins", errBusy)
	}
	text, info, err := l.login(ctx, name, password, life)
	if errors.Is(err, errPasswordChanged) {
		text, info, err = l.login(ctx, name, password, life)
	}
	return text, info, err
}

// errPasswordChanged is the error of a login during which another hash was stored: of
// another password, or of the same one by a login at the same time; see replacement.
var errPasswordChanged = errors.New("the password was changed meanwhile")

func (l *Logins) login(ctx context.Context, name, password string, life time.Duration) (string, UserInfo, error) {
	d, err := l.Accounts.directory(ctx)
	u, found := d.user(name)
	if !found {
		if err != nil {
			return "", UserInfo{}, err
		}
		return "", UserInfo{}, noUser(name)
	}
	if err := l.verify(ctx, *u, password); err != nil {
		return "", UserInfo{}, err
	}
	fresh, err := l.replacement(ctx, *u, password)
	if err != nil {
		return "", UserInfo{}, err
	}
	used := u.account.Password
	var info UserInfo
	text, err := l.Accounts.addToken(ctx, name, tokenOfLogin, life, func(d *directory, u *user) error {
		if u.account == nil || u.account.Password != used {
			return contended{errPasswordChanged}
		}
		if fresh != "" {
			u.account.Password = fresh
		}
		info = d.info(*u)
		return nil
	})
	return text, info, err
}

// replacement is the hash that replaces one of an older form; empty if none has to.
func (l *Logins) replacement(ctx context.Context, u user, password string) (string, error) {
	if !identity.Outdated(u.account.Password) || identity.CheckPassword(password) != nil {
		return "", nil
	}
	return l.Accounts.hashPassword(ctx, password)
}

func (l *Logins) verify(ctx context.Context, u user, password string) error {
	if u.account == nil || u.account.Password == "" {
		l.failed(u.Name)
		return wrongPassword()
	}
	err := l.Accounts.hashed(ctx, func() error { return identity.VerifyPassword(u.account.Password, u.Name, password) })
	if errors.Is(err, identity.ErrPassword) {
		l.failed(u.Name)
		return wrongPassword()
	}
	return err
}

// blocked reports whether there were too many wrong passwords of a user.
func (l *Logins) blocked(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.failures[name]
	return f != nil && f.Tokens() < 1
}

// failed counts a wrong password of a user who exists, so there are few limiters.
func (l *Logins) failed(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failures[name] == nil {
		l.failures[name] = rate.NewLimiter(rate.Every(time.Minute/failuresPerMinute), failuresPerMinute)
	}
	l.failures[name].Allow()
}

// CheckPassword returns the stored hash of the password of a user if the password is the
// given one.
func (l *Logins) CheckPassword(ctx context.Context, name, password string) (hash string, err error) {
	if l.blocked(name) {
		return "", pai.Errorf(pai.CodeFailed, "try again in a minute", "%w: passwords", errBusy)
	}
	d, err := l.Accounts.directory(ctx)
	if u, found := d.user(name); found {
		if err := l.verify(ctx, *u, password); err != nil {
			return "", err
		}
		return u.account.Password, nil
	}
	if err != nil {
		return "", err
	}
	return "", noUser(name)
}

// CreateApplicationToken returns a token of a user for applications.
func (a Accounts) CreateApplicationToken(ctx context.Context, name string) (string, error) {
	return a.addToken(ctx, name, tokenOfApplication, MaxTokenLife, func(_ *directory, u *user) error {
		if u.count(tokenOfApplication) >= maxApplications {
			return &reason{"ForbiddenUserError", "Too many application tokens.",
				pai.Errorf(pai.CodeRefused, "revoke one first", "user %q has %d application tokens, which is the limit", name, maxApplications)}
		}
		return nil
	})
}

func (u user) count(kind tokenKind) (n int) {
	for _, t := range u.Tokens {
		if u.account != nil && u.account.Kinds[t.id()] == kind {
			n++
		}
	}
	return n
}

// addToken adds a token to a user after check, and drops tokens that have ended.
func (a Accounts) addToken(ctx context.Context, name string, kind tokenKind, life time.Duration, check func(*directory, *user) error) (string, error) {
	now := time.Now()
	issued, expires := now.UTC().Truncate(time.Second), now.Add(life).UTC().Truncate(time.Second)
	text := identity.NewToken(identity.Claims{Username: name, Application: kind == tokenOfApplication, Issued: issued, Expires: expires})
	t := token{SHA256: hashToken(text), Created: issued, Expires: expires, Note: string(kind)}
	err := a.change(ctx, func(d *directory) error {
		u, found := d.user(name)
		if !found {
			return noUser(name)
		}
		if err := check(d, u); err != nil {
			return err
		}
		d.giveAccount(u)
		u.dropTokens(now)
		u.Tokens = append(u.Tokens, t)
		if u.account.Kinds == nil {
			u.account.Kinds = map[string]tokenKind{}
		}
		u.account.Kinds[t.id()] = kind
		return nil
	})
	return text, err
}

// dropTokens removes tokens of logins and applications that have ended, and the oldest
// logins above the limit. Tokens of paictl stay in its list until they are deleted.
func (u *user) dropTokens(now time.Time) {
	logins := u.count(tokenOfLogin)
	u.Tokens = slices.DeleteFunc(u.Tokens, func(t token) bool {
		switch kind := u.account.Kinds[t.id()]; {
		case kind == "":
			return false
		case t.expired(now):
			if kind == tokenOfLogin {
				logins--
			}
			return true
		case kind == tokenOfLogin && logins >= maxLogins: // the oldest are first
			logins--
			return true
		}
		return false
	})
	for id := range u.account.Kinds {
		if !slices.ContainsFunc(u.Tokens, func(t token) bool { return t.id() == id }) {
			delete(u.account.Kinds, id)
		}
	}
}

// TokensOf returns the valid tokens of a user as a list shows them.
func (a Accounts) TokensOf(ctx context.Context, name string) ([]string, error) {
	d, err := a.directory(ctx)
	u, found := d.user(name)
	if !found {
		return nil, errors.Join(err, noUser(name))
	}
	tokens := []string{}
	for _, t := range u.Tokens {
		if t.expired(time.Now()) {
			continue
		}
		application := u.account != nil && u.account.Kinds[t.id()] == tokenOfApplication
		tokens = append(tokens, identity.Listed(identity.Claims{Username: name, Application: application, Issued: t.Created, Expires: t.Expires}, t.id()))
	}
	return tokens, nil
}

// OwnerOf returns the user who has a token, given as the token or as a list shows it.
func (a Accounts) OwnerOf(ctx context.Context, text string) (owner, id string, err error) {
	d, err := a.directory(ctx)
	for _, u := range d.Users {
		for _, t := range u.Tokens {
			if t.SHA256 == hashToken(text) || t.id() == identity.LastPart(text) && len(t.id()) == tokenIDLength {
				return u.Name, t.id(), nil
			}
		}
	}
	if err != nil {
		return "", "", err
	}
	return "", "", &reason{"NoTokenError", "Token is not found.", pai.Errorf(pai.CodeNotFound, "", "the token is unknown or was revoked")}
}

// Revoke removes a token of a user by its ID.
func (a Accounts) Revoke(ctx context.Context, name, id string) error {
	return a.change(ctx, func(d *directory) error {
		u, found := d.user(name)
		if !found {
			return noUser(name)
		}
		u.Tokens = slices.DeleteFunc(u.Tokens, func(t token) bool { return t.id() == id })
		if u.account != nil {
			delete(u.account.Kinds, id)
		}
		return nil
	})
}
