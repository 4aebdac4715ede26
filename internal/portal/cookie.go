package portal

import (
	"net/http"
	"time"
)

// cookieName begins with __Host-: browsers accept such a cookie only over TLS, for this
// host alone, and for all paths.
const cookieName = "__Host-pai-session"

// setCookie gives a session to the browser, for as long as its token is valid.
func setCookie(w http.ResponseWriter, value string, s Session, now time.Time) {
	c := sessionCookie(value)
	if !s.Expires.IsZero() {
		c.MaxAge = max(1, int(s.Expires.Sub(now).Seconds()))
	}
	http.SetCookie(w, c)
}

// removeCookie ends the session of the browser.
func removeCookie(w http.ResponseWriter) { http.SetCookie(w, removedCookie()) }

// removedCookie has the browser delete the cookie.
func removedCookie() *http.Cookie {
	c := sessionCookie("")
	c.MaxAge = -1
	return c
}

func sessionCookie(value string) *http.Cookie {
	return &http.Cookie{Name: cookieName, Value: value, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode}
}

// session returns the session of a request. A request with two cookies of that name has
// none: a browser sends one.
func (h *Handler) session(req *http.Request) (Session, error) {
	var values []string
	for _, c := range req.CookiesNamed(cookieName) {
		values = append(values, c.Value)
	}
	if len(values) != 1 {
		return Session{}, errSealed
	}
	s, err := h.Keys.open(values[0])
	if err == nil && s.expired(time.Now()) {
		err = errSealed
	}
	return s, err
}
