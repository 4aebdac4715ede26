package portal

import (
	"encoding/json"
	"errors"
	"net/http"
)

// problem is an error of the portal as the page reads it. Errors of the REST server pass
// as they are.
type problem struct {
	status  int
	Code    string `json:"code"`
	Message string `json:"message"`
}

func (p *problem) Error() string { return p.Message }

// The problems of requests.
var (
	errUnauthorized = &problem{http.StatusUnauthorized, "unauthorized", "sign in first"}
	errPassword     = &problem{http.StatusUnauthorized, "unauthorized", "the user name or the password is wrong"}
	errToken        = &problem{http.StatusUnauthorized, "unauthorized", "the token is unknown, was revoked, or has expired"}
	errForbidden    = &problem{http.StatusForbidden, "forbidden", "the request does not come from a page of this portal"}
	errNotFound     = &problem{http.StatusNotFound, "notFound", "the portal has no such address"}
	errMethod       = &problem{http.StatusMethodNotAllowed, "forbidden", "the method is not supported here"}
	errTooLarge     = &problem{http.StatusRequestEntityTooLarge, "tooLarge", "the request is too large"}
	errInvalid      = &problem{http.StatusBadRequest, "invalid", "send a user name and a password, or a token, in JSON"}
	errBody         = &problem{http.StatusBadRequest, "invalid", "the request ended before its whole body arrived; send it again"}
	errBusy         = &problem{http.StatusTooManyRequests, "busy", "too many attempts to sign in; try again in a minute"}
	errFull         = &problem{http.StatusServiceUnavailable, "unavailable", "the portal has too many requests in progress; try again in a moment"}
	errUnavailable  = &problem{http.StatusServiceUnavailable, "unavailable", "the REST server is unavailable; try again in a moment"}
	errNotRevoked   = &problem{http.StatusServiceUnavailable, "unavailable", "this browser is signed out, but the REST server is unavailable and could not revoke the login"}
	errSignIn       = &problem{http.StatusInternalServerError, "failed", "the REST server cannot sign you in, for another reason than the name or the password; an operator finds it in the log of the portal"}
	errInternal     = &problem{http.StatusInternalServerError, "failed", "the portal failed; see its log"}
)

// fail answers with an error. Only problems reach the client.
func fail(w http.ResponseWriter, err error) {
	var p *problem
	if !errors.As(err, &p) {
		p = errInternal
	}
	switch p.status {
	case http.StatusTooManyRequests:
		w.Header().Set("Retry-After", "60")
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "2")
	}
	writeJSON(w, p.status, p)
}

func writeJSON(w http.ResponseWriter, status int, data any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(data) // an error means that the client disconnected
}
