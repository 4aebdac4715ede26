package rest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"

	"pai.dev/pai/internal/identity"
	"pai.dev/pai/internal/pai"
)

func TestLogins(t *testing.T) {
	t.Parallel()
	w := newWhole(t, identity.Policy{}, "default")
	first := w.user(t, "ada", false)
	application, err := w.accounts.CreateApplicationToken(t.Context(), "ada")
	if err != nil {
		t.Fatal(err)
	}
	status := func(token string) int {
		code, _ := w.ask(t, http.MethodGet, "/rest-server/api/v2/tokens/check", token, "")
		return code
	}
	if status(first) != 200 || status(application) != 200 {
		t.Fatal("tokens are refused")
	}
	// What a list shows of tokens is not valid, and is enough to revoke them.
	listed := answer[struct{ Tokens []string }](t, w, http.MethodGet, "/rest-server/api/v2/tokens", first, "").Tokens
	if len(listed) != 2 || slices.Contains(listed, first) || status(listed[0]) != 401 || status(listed[1]) != 401 {
		t.Errorf("listed %q", listed)
	}
	for _, l := range listed {
		if c, ok := identity.ReadClaims(l); !ok || c.Username != "ada" || strings.Contains(l, identity.LastPart(first)) {
			t.Errorf("%s: %+v", l, c)
		}
	}
	// A new password ends logins, and no application tokens.
	if _, err := w.accounts.Update(t.Context(), "ada", UserChange{Password: new("another one")}); err != nil {
		t.Fatal(err)
	}
	if status(first) != 401 || status(application) != 200 {
		t.Errorf("after a new password: %d, %d", status(first), status(application))
	}
	for _, c := range []struct {
		user, password string
		life           time.Duration
		code           string
	}{
		{"ada", "secret-ada", 0, "IncorrectPasswordError"},
		{"missing", "secret", 0, "NoUserError"},
		{"ada", "another one", time.Second, "InvalidParametersError"},
		{"ada", "another one", 8 * 24 * time.Hour, "InvalidParametersError"},
	} {
		_, _, err := w.handler.Logins.Login(t.Context(), c.user, c.password, c.life)
		var r *reason
		if !errors.As(err, &r) || r.code != c.code {
			t.Errorf("%+v: %v", c, err)
		}
	}
	short, _, err := w.handler.Logins.Login(t.Context(), "ada", "another one", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if c, _ := identity.ReadClaims(short); c.Expires.Sub(c.Issued) != time.Minute {
		t.Errorf("a login of a minute lives for %s", c.Expires.Sub(c.Issued))
	}
	for key, value := range w.memory.secret(t).Data {
		for _, secret := range []string{"another one", "secret-ada", identity.LastPart(short), identity.LastPart(application)} {
			if strings.Contains(string(value), secret) {
				t.Errorf("%s has a secret: %s", key, value)
			}
		}
	}
	// What a list shows is enough to revoke a token.
	extra, err := w.accounts.CreateApplicationToken(t.Context(), "ada")
	if err != nil {
		t.Fatal(err)
	}
	all, err := w.accounts.TokensOf(t.Context(), "ada")
	if err != nil {
		t.Fatal(err)
	}
	shown := all[len(all)-1]
	if code, text := w.ask(t, http.MethodDelete, "/rest-server/api/v2/tokens/"+shown, short, ""); code != 200 || status(extra) != 401 || status(application) != 200 {
		t.Errorf("revoked by what a list shows: %d %s", code, text)
	}
	// Deleted users are unknown at once.
	if err := w.accounts.Delete(t.Context(), "ada"); err != nil || status(application) != 401 || status(short) != 401 {
		t.Errorf("a deleted user: %v", err)
	}
}

// An administrator resets the password of a user while the user, or who knows the old
// password, changes it: the reset stays.
func TestOldPasswordDoesNotReplaceAReset(t *testing.T) {
	t.Parallel()
	w := newWhole(t, identity.Policy{}, "default")
	w.user(t, "ada", false)
	// The reset ends tokens of logins, but not this one.
	if err := w.accounts.change(t.Context(), func(d *directory) error {
		d.addToken("ada", false, token{SHA256: hashToken("of paictl")})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	reset := func() {
		if _, err := w.accounts.Update(context.WithoutCancel(t.Context()), "ada", UserChange{Password: new("of the administrator")}); err != nil {
			t.Error(err)
		}
	}
	w.contend().meanwhile <- reset
	status, text := w.ask(t, http.MethodPut, "/rest-server/api/v2/users/me", "of paictl", `{"data":{"username":"ada","oldPassword":"secret-ada","newPassword":"of the thief"},"patch":true}`)
	if status != http.StatusBadRequest || !strings.Contains(text, codeWrongPassword) {
		t.Errorf("got %d %s", status, text)
	}
	if _, err := w.handler.Logins.CheckPassword(t.Context(), "ada", "of the administrator"); err != nil {
		t.Errorf("the old password replaced the reset: %v", err)
	}
}

// Two logins at the same time replace the hash of an imported password. Both were right.
func TestLoginsAtTheSameTimeReplaceAnImportedPassword(t *testing.T) {
	t.Parallel()
	w := newWhole(t, identity.Policy{}, "default")
	if _, err := w.accounts.Import(t.Context(), imported(), false); err != nil {
		t.Fatal(err)
	}
	first := NewLogins(w.accounts)
	login := func() {
		if _, _, err := first.Login(context.WithoutCancel(t.Context()), "ada", "hello-pai", 0); err != nil {
			t.Error(err)
		}
	}
	w.contend().meanwhile <- login
	if _, _, err := w.handler.Logins.Login(t.Context(), "ada", "hello-pai", 0); err != nil {
		t.Errorf("the second login: %v", err)
	}
	reset := func() {
		if _, err := w.accounts.Update(context.WithoutCancel(t.Context()), "ada", UserChange{Password: new("another one")}); err != nil {
			t.Error(err)
		}
	}
	w.contend().meanwhile <- reset
	if _, _, err := w.handler.Logins.Login(t.Context(), "ada", "hello-pai", 0); pai.CodeOf(err) != pai.CodeForbidden {
		t.Errorf("a password that was changed during the login: %v", err)
	}
}

// Who guesses passwords of a user is slowed down; other users log in.
func TestGuessedPasswordsAreSlowedDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // where the checks of a busy host take no time
		m := newMemory("default")
		logins := NewLogins(NewUsers(m, UsersByEntry, func(err error) { t.Error(err) }).WithVirtualClusters([]string{"default"}).Accounts(m))
		logins.all.SetLimit(rate.Inf)
		for _, name := range []string{"ada", "bob"} {
			if _, err := logins.Accounts.Create(t.Context(), name, UserChange{Password: new("secret-" + name), Groups: &[]string{}}); err != nil {
				t.Fatal(err)
			}
		}
		checked := 0
		for range 3 * failuresPerMinute {
			_, _, err := logins.Login(t.Context(), "ada", "guess", 0)
			switch {
			case pai.CodeOf(err) == pai.CodeForbidden: // the password is wrong
				checked++
			case errors.Is(err, errBusy):
			default:
				t.Fatalf("a guess: %v", err)
			}
		}
		if checked != failuresPerMinute {
			t.Errorf("%d guesses were checked, want %d", checked, failuresPerMinute)
		}
		if _, _, err := logins.Login(t.Context(), "bob", "secret-bob", 0); err != nil {
			t.Errorf("another user: %v", err)
		}
		time.Sleep(time.Minute)
		if _, _, err := logins.Login(t.Context(), "ada", "secret-ada", 0); err != nil {
			t.Errorf("the user a minute later: %v", err)
		}
	})
	w := newWhole(t, identity.Policy{}, "default")
	w.handler.Logins.failures["ada"] = rate.NewLimiter(0, 0) // too many already
	const login = "/rest-server/api/v2/authn/basic/login"
	if status, text := w.ask(t, http.MethodPost, login, "", `{"username":"ada","password":"guess"}`); status != http.StatusTooManyRequests {
		t.Errorf("one guess more: got %d %s, want 429", status, text)
	}
}

// The oldest logins of a user end; tokens of paictl and application tokens do not.
func TestLoginsAreFew(t *testing.T) {
	t.Parallel()
	u := user{Name: "ada", account: &account{Kinds: map[string]tokenKind{}}}
	now := time.Unix(1.7e9, 0)
	add := func(hash string, kind tokenKind, expires time.Time) {
		hash = strings.Repeat(hash, 6)
		u.Tokens = append(u.Tokens, token{SHA256: hash, Expires: expires})
		if kind != "" {
			u.account.Kinds[hash[:tokenIDLength]] = kind
		}
	}
	add("zz", "", now.Add(-time.Hour))
	add("yy", tokenOfApplication, now.Add(time.Hour))
	add("xx", tokenOfApplication, now.Add(-time.Hour))
	for i := range maxLogins + 5 {
		add(fmt.Sprintf("%02d", i), tokenOfLogin, now.Add(time.Hour))
	}
	u.dropTokens(now)
	if got := u.count(tokenOfLogin); got != maxLogins-1 { // one is added afterwards
		t.Errorf("%d logins are left", got)
	}
	if first := u.Tokens[2].SHA256[:2]; first != "06" || u.Tokens[0].SHA256[:2] != "zz" || u.Tokens[1].SHA256[:2] != "yy" || len(u.account.Kinds) != maxLogins {
		t.Errorf("the first login is %s; %d kinds", first, len(u.account.Kinds))
	}
}

// A token that one server makes is known to another server at once, although that one
// has just read the users.
func TestNewTokenIsKnownToOtherServers(t *testing.T) {
	t.Parallel()
	w := newWhole(t, identity.Policy{}, "default")
	old := w.user(t, "ada", false)
	other := NewUsers(w.memory, UsersByEntry, func(error) {})
	if _, err := other.Caller(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	fresh := w.loggedIn(t, "ada")
	if _, err := other.Caller(t.Context(), fresh); err != nil {
		t.Errorf("a new token: %v", err)
	}
	start := time.Now()
	if _, err := other.Caller(t.Context(), "pai_unknown"); pai.CodeOf(err) != pai.CodeForbidden || time.Since(start) > strangerFreshFor {
		t.Errorf("an unknown token: %v after %s", err, time.Since(start))
	}
}

// Scripts send an application token as the password of its user, and no other token.
func TestBasicAuthentication(t *testing.T) {
	t.Parallel()
	w := newWhole(t, identity.Policy{}, "default")
	login := w.user(t, "ada", false)
	w.user(t, "bob", false)
	application, err := w.accounts.CreateApplicationToken(t.Context(), "ada")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		user, password string
		want           int
	}{{"ada", application, 200}, {"bob", application, 401}, {"ada", login, 401}, {"ada", "secret-ada", 401}, {"", application, 401}} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.url+"/rest-server/api/v2/jobs", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth(c.user, c.password)
		resp, err := w.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != c.want {
			t.Errorf("%s with %.10s…: got %d, want %d", c.user, c.password, resp.StatusCode, c.want)
		}
	}
}

// After a restore from a backup, no token is valid, of whichever kind and form. Users,
// their passwords, and their rights stay.
func TestEndAllTokens(t *testing.T) {
	t.Parallel()
	w := newWhole(t, identity.Policy{}, "default")
	tokens := []string{w.user(t, "ada", true), w.user(t, "bob", false)}
	application, err := w.accounts.CreateApplicationToken(t.Context(), "ada")
	if err != nil {
		t.Fatal(err)
	}
	if err := changeUsers(t.Context(), w.memory, UsersByEntry, func(d *directory) error {
		d.addToken("old", true, token{SHA256: hashToken("of v0.10")}) // without an end or an account
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	n, err := endAllTokens(t.Context(), w.memory)
	if err != nil || n != 4 {
		t.Fatalf("ended %d tokens, %v, want 4", n, err)
	}
	d, problems := readDirectory(w.memory.secret(t), UsersByEntry)
	if len(d.infos(time.Now())) > 0 || len(d.Users) != 3 || problems != nil {
		t.Errorf("left %+v, %v", d, problems)
	}
	for _, one := range append(tokens, application, "of v0.10") {
		if _, _, ok := d.holder(hashToken(one), time.Now()); ok {
			t.Errorf("token %s is valid", one)
		}
	}
	for name, access := range map[string]Access{"ended": {Token: tokens[0]}, "none": {}} {
		if has, err := HasAccess(t.Context(), w.memory, access); has || err != nil {
			t.Errorf("%s: the access counts as valid: %t, %v", name, has, err)
		}
	}
	again, _, err := w.handler.Logins.Login(t.Context(), "ada", "secret-ada", 0)
	if err != nil {
		t.Fatal(err)
	}
	if has, err := HasAccess(t.Context(), w.memory, Access{Token: again}); !has || err != nil {
		t.Errorf("after a login, the access is valid: %t, %v", has, err)
	}
	if code, _ := w.ask(t, http.MethodGet, "/rest-server/api/v2/users", again, ""); code != http.StatusOK {
		t.Errorf("the administrator got %d after a login", code)
	}
	if n, err := endAllTokens(t.Context(), newMemory()); err != nil || n != 0 {
		t.Errorf("without users: %d, %v", n, err)
	}
}
