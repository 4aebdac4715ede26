package portal

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pai.dev/pai/internal/rest"
)

// The token of a login stays in a cookie that no script can read, and no answer has it.
func TestSignInKeepsTheTokenFromScripts(t *testing.T) {
	t.Parallel()
	b := newWorld(t).browser()
	c := b.signIn("ada")
	if c.Name != "__Host-pai-session" || !c.HttpOnly || !c.Secure || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || c.Domain != "" {
		t.Errorf("got cookie %s", c.Raw)
	}
	if raw, err := base64.RawURLEncoding.DecodeString(c.Value); err != nil || strings.Contains(string(raw), "ada") {
		t.Errorf("the cookie is not sealed: %v", err)
	}
	if c.MaxAge < int((6*24*time.Hour).Seconds()) || c.MaxAge > int((7*24*time.Hour).Seconds()) {
		t.Errorf("the cookie lives %d seconds, not as long as the login", c.MaxAge)
	}
	a := b.do(http.MethodGet, "/api/session", "", nil)
	var got map[string]any
	if err := json.Unmarshal([]byte(a.body), &got); err != nil || a.status != http.StatusOK {
		t.Fatalf("got %d, %s, %v", a.status, a.body, err)
	}
	if got["username"] != "ada" || got["admin"] != false || got["expires"] == nil || len(got) != 3 {
		t.Errorf("got session %s", a.body)
	}
}

// What is wrong with a login reaches no one who guesses: an unknown user and a wrong
// password look the same.
func TestSignInRefuses(t *testing.T) {
	t.Parallel()
	b := newWorld(t).browser()
	wrong := b.do(http.MethodPost, "/api/session", `{"username":"ada","password":"wrong password"}`, nil)
	for name, c := range map[string]struct {
		body   string
		status int
	}{
		"wrong password": {`{"username":"ada","password":"wrong password 2"}`, 401},
		"unknown user":   {`{"username":"eve","password":"wrong password"}`, 401},
		"wrong token":    {`{"token":"abc"}`, 401},
		"bad token":      {`{"token":"abc\u0000\r\nX: y"}`, 401},
		"long token":     {`{"token":"` + strings.Repeat("a", maxToken+1) + `"}`, 401},
		"nothing":        {`{}`, 400},
		"both":           {`{"token":"a","username":"ada","password":"b"}`, 400},
		"no JSON":        {`username=ada`, 400},
		"too large":      {`{"username":"` + strings.Repeat("a", maxSignIn) + `"}`, 413},
	} {
		a := b.do(http.MethodPost, "/api/session", c.body, nil)
		if a.status != c.status || a.cookie != nil {
			t.Errorf("%s: got %d, %s, want %d", name, a.status, a.body, c.status)
		}
		if strings.HasPrefix(name, "wrong password") || name == "unknown user" {
			if a.body != wrong.body {
				t.Errorf("%s: got %s, which differs from %s", name, a.body, wrong.body)
			}
		}
	}
	form := b.do(http.MethodPost, "/api/session", "username=ada&password="+password, func(r *http.Request) {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	})
	if form.status != http.StatusBadRequest {
		t.Errorf("a form: got %d", form.status)
	}
}

// Only the REST server's refusal of the name or the password is shown as one. Who has the
// right password and reads that it is wrong locks themselves out.
func TestOtherRefusalsAreNoWrongPassword(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		status int
		body   string
		want   error
	}{
		{400, `{"code":"IncorrectPasswordError"}`, errPassword},
		{400, `{"code":"NoUserError"}`, errPassword},
		{400, `{"code":"InvalidParametersError"}`, errSignIn},
		{409, `{"code":"UnknownError","message":"the users come to 1000000 bytes"}`, errSignIn},
		{400, `<html>`, errSignIn},
		{404, ``, errSignIn},
		{200, `{}`, errSignIn},
		{429, `{"code":"UnknownError"}`, errBusy},
		{503, `{"code":"UnknownError"}`, errUnavailable},
	} {
		h := &Handler{REST: mustParse(t, "https://rest.example"), Log: discard(), Transport: roundTrip(func(*http.Request) (*http.Response, error) {
			rec := httptest.NewRecorder()
			rec.WriteHeader(c.status)
			_, err := rec.WriteString(c.body)
			return rec.Result(), err
		})}
		if _, err := h.login(t.Context(), "ada", password); !errors.Is(err, c.want) {
			t.Errorf("%d %s: got %v, want %v", c.status, c.body, err, c.want)
		}
	}
}

// The REST server slows down who guesses, and the portal passes that on.
func TestSignInIsSlowedDown(t *testing.T) {
	t.Parallel()
	b := newWorld(t).browser()
	last := answer{}
	for range 12 {
		last = b.do(http.MethodPost, "/api/session", `{"username":"ada","password":"wrong password"}`, nil)
	}
	if last.status != http.StatusTooManyRequests || last.header.Get("Retry-After") == "" {
		t.Errorf("after 12 attempts: got %d, %s", last.status, last.body)
	}
}

// A cookie that was changed, that another portal sealed, or that has ended is no session,
// and the browser deletes it.
func TestChangedCookieIsRefused(t *testing.T) {
	t.Parallel()
	b := newWorld(t).browser()
	b.signIn("ada")
	good := b.cookie
	raw, err := base64.RawURLEncoding.DecodeString(good)
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]string{"empty": "", "no base64": "%%%", "cut off": good[:len(good)-4], "twice": good + good, "plain": base64.RawURLEncoding.EncodeToString([]byte(`{"t":"x","u":"admin","a":true}`))}
	for i := range raw {
		if i%7 == 0 {
			changed := append([]byte{}, raw...)
			changed[i] ^= 1
			values["changed at "+string(rune('a'+i%26))+strings.Repeat("+", i/26)] = base64.RawURLEncoding.EncodeToString(changed)
		}
	}
	other := filepath.Join(t.TempDir(), "key")
	write(t, other, []byte(strings.Repeat("k", KeySize)))
	if values["of another key"], err = (&Keys{File: other}).seal(Session{Token: "x", Username: "ada"}); err != nil {
		t.Fatal(err)
	}
	for name, value := range values {
		b.cookie = value
		a := b.do(http.MethodGet, "/api/rest/api/v2/jobs", "", nil)
		if a.status != http.StatusUnauthorized {
			t.Errorf("%s: got %d, %s", name, a.status, a.body)
		}
		if value != "" && (a.cookie == nil || a.cookie.MaxAge >= 0) {
			t.Errorf("%s: the browser keeps the cookie", name)
		}
	}
	b.cookie = good
	twice := b.do(http.MethodGet, "/api/session", "", func(r *http.Request) { r.AddCookie(&http.Cookie{Name: cookieName, Value: good}) })
	if twice.status != http.StatusUnauthorized {
		t.Errorf("two cookies: got %d", twice.status)
	}
	if a := b.do(http.MethodGet, "/api/session", "", nil); a.status != http.StatusOK {
		t.Errorf("the cookie itself: got %d", a.status)
	}
	if seen := b.jobs.seen(); len(seen) > 0 {
		t.Errorf("calls reached the REST server: %v", seen)
	}
}

func TestSealedSessionEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := &Handler{Keys: &Keys{File: filepath.Join(t.TempDir(), "key")}}
	write(t, h.Keys.File, []byte(strings.Repeat("k", KeySize)))
	for name, c := range map[string]struct {
		expires time.Time
		valid   bool
	}{"has ended": {time.Now().Add(-time.Second), false}, "is valid": {time.Now().Add(time.Minute), true}, "has no end": {time.Time{}, true}} {
		value, err := h.Keys.seal(Session{Token: "x", Username: "ada", Expires: c.expires})
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.address, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.AddCookie(&http.Cookie{Name: cookieName, Value: value})
		if _, err := h.session(req); (err == nil) != c.valid {
			t.Errorf("a session that %s: got %v", name, err)
		}
	}
}

// A copy of the cookie is worthless after the user signed out.
func TestSignOutRevokesTheLogin(t *testing.T) {
	t.Parallel()
	b := newWorld(t).browser()
	b.signIn("ada")
	stolen := b.cookie
	if a := b.do(http.MethodGet, "/api/rest/api/v2/jobs", "", nil); a.status != http.StatusOK {
		t.Fatalf("before: got %d, %s", a.status, a.body)
	}
	a := b.do(http.MethodDelete, "/api/session", "", nil)
	if a.status != http.StatusNoContent || a.cookie == nil || a.cookie.MaxAge >= 0 {
		t.Fatalf("sign out: got %d, %v", a.status, a.cookie)
	}
	b.cookie = stolen
	deadline := time.Now().Add(time.Minute) // the REST server reads its users again
	for {
		a := b.do(http.MethodGet, "/api/rest/api/v2/jobs", "", nil)
		if a.status == http.StatusUnauthorized {
			if a.cookie == nil || a.cookie.MaxAge >= 0 {
				t.Error("the browser keeps a cookie that is not valid any more")
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("a copy of the cookie: got %d", a.status)
		}
		time.Sleep(50 * time.Millisecond)
	}
	if a := b.do(http.MethodGet, "/api/session", "", nil); a.status != http.StatusUnauthorized {
		t.Errorf("the session of the copy: got %d", a.status)
	}
}

// paictl and scripts can use the token that a user pastes: signing out does not revoke it.
func TestSignOutKeepsATokenThatTheUserGave(t *testing.T) {
	t.Parallel()
	b := newWorld(t).browser()
	token, err := b.accounts.CreateApplicationToken(t.Context(), "bob")
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(map[string]string{"token": " " + token + "\n"})
	if err != nil {
		t.Fatal(err)
	}
	a := b.do(http.MethodPost, "/api/session", string(body), nil)
	if a.status != http.StatusNoContent || a.cookie == nil {
		t.Fatalf("got %d, %s", a.status, a.body)
	}
	b.cookie = a.cookie.Value
	if a := b.do(http.MethodDelete, "/api/session", "", nil); a.status != http.StatusNoContent {
		t.Fatalf("got %d, %s", a.status, a.body)
	}
	if owner, _, err := b.accounts.OwnerOf(t.Context(), token); err != nil || owner != "bob" {
		t.Errorf("the token was revoked: %v", err)
	}
}

// While the REST server is away, the page continues with what the cookie says, and
// claims to have signed out everywhere to no one.
func TestSessionWithoutTheRESTServer(t *testing.T) {
	t.Parallel()
	b := newWorld(t).browser()
	b.signIn("ada")
	b.stopREST()
	if a := b.do(http.MethodGet, "/api/session", "", nil); a.status != http.StatusOK || !strings.Contains(a.body, `"ada"`) {
		t.Errorf("session: got %d, %s", a.status, a.body)
	}
	if a := b.do(http.MethodGet, "/api/rest/api/v2/jobs", "", nil); a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" || !strings.Contains(a.body, "unavailable") {
		t.Errorf("jobs: got %d, %s", a.status, a.body)
	}
	if a := b.do(http.MethodDelete, "/api/session", "", nil); a.status != http.StatusServiceUnavailable || a.cookie == nil || a.cookie.MaxAge >= 0 {
		t.Errorf("sign out: got %d, %s, cookie %v", a.status, a.body, a.cookie)
	}
	if a := b.do(http.MethodGet, "/readyz", "", nil); a.status != http.StatusOK {
		t.Errorf("readyz: got %d: the page must stay", a.status)
	}
	if a := b.do(http.MethodPost, "/api/session", `{"username":"ada","password":"`+password+`"}`, nil); a.status != http.StatusServiceUnavailable {
		t.Errorf("sign in: got %d, %s", a.status, a.body)
	}
}

var _ rest.JobAPI = (*jobs)(nil)
