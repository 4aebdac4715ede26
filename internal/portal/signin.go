package portal

import (
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"strings"
	"time"
)

const (
	// maxSignIn is the longest request to sign in.
	maxSignIn = 4 << 10
	// maxToken is the longest token that fits into the cookie, sealed and encoded.
	maxToken = 2 << 10
)

// signedIn is what the page knows of a session.
type signedIn struct {
	Username string    `json:"username"`
	Admin    bool      `json:"admin"`
	Expires  time.Time `json:"expires,omitzero"`
}

// signIn starts a session with a password or a token.
func (h *Handler) signIn(w http.ResponseWriter, req *http.Request) {
	s, err := h.signInWith(w, req)
	if err != nil {
		fail(w, err)
		return
	}
	sealed, err := h.Keys.seal(s)
	if err != nil {
		h.Log.Error("cannot make a session", "error", err)
		fail(w, errInternal)
		return
	}
	setCookie(w, sealed, s, time.Now())
	w.WriteHeader(http.StatusNoContent)
}

func (h *Handler) signInWith(w http.ResponseWriter, req *http.Request) (Session, error) {
	if kind, _, err := mime.ParseMediaType(req.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return Session{}, errInvalid
	}
	text, err := readSoon(w, req, maxSignIn)
	if err != nil {
		return Session{}, err
	}
	var body struct{ Username, Password, Token string }
	if json.Unmarshal(text, &body) != nil { // its error can have the password
		return Session{}, errInvalid
	}
	token := strings.TrimSpace(body.Token)
	switch {
	case token != "" && body.Password == "" && len(token) <= maxToken && isToken(token):
		return h.check(req.Context(), token)
	case token != "" && body.Password == "":
		return Session{}, errToken
	case token == "" && body.Username != "" && body.Password != "":
		return h.login(req.Context(), body.Username, body.Password)
	}
	return Session{}, errInvalid
}

// isToken reports whether a text can be in a header.
func isToken(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' })
}

// showSession answers with the user of a session, as the REST server knows it now. While
// that is unavailable, the page continues with what the cookie says: it decides nothing.
func (h *Handler) showSession(w http.ResponseWriter, req *http.Request) {
	s, err := h.session(req)
	if err != nil {
		h.refuseSession(w, err)
		return
	}
	now, err := h.check(req.Context(), s.Token)
	switch {
	case errors.Is(err, errUnavailable), errors.Is(err, errBusy):
		now = s
	case err != nil:
		h.refuseSession(w, err)
		return
	}
	writeJSON(w, http.StatusOK, signedIn{now.Username, now.Admin, now.Expires})
}

// refuseSession answers a request without a valid session, and ends that of the browser.
func (h *Handler) refuseSession(w http.ResponseWriter, err error) {
	switch {
	case errors.Is(err, errSealed):
		err = errUnauthorized
	case !errors.Is(err, errToken):
		h.Log.Error("cannot read a session", "error", err)
		fail(w, errInternal)
		return
	}
	removeCookie(w)
	fail(w, err)
}

// signOut ends a session, and revokes its token if the portal asked for it. A token that
// the user gave can have other uses. The browser deletes the session in any case; that a
// copy of it would still be valid, the user must know.
func (h *Handler) signOut(w http.ResponseWriter, req *http.Request) {
	s, err := h.session(req)
	removeCookie(w)
	if err == nil && s.Made {
		err := h.logout(req.Context(), s)
		if err != nil {
			h.Log.Warn("a session ended in the browser, but its token is still valid", "user", s.Username, "error", err)
			fail(w, errNotRevoked)
			return
		}
	}
	w.WriteHeader(http.StatusNoContent)
}
