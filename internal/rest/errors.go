package rest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"pai.dev/pai/internal/identity"
	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/pai"
)

// errUnauthorized is the error of a request without a known token.
var errUnauthorized = pai.Errorf(pai.CodeForbidden, "send the header Authorization: Bearer TOKEN", "the request has no valid token")

// errTokenInvalid is the error of a request with a token that is not valid (any more).
var errTokenInvalid = pai.Errorf(pai.CodeForbidden, "an operator can create another token; run: paictl user token create --save",
	"%w: the token is unknown, was revoked, or has expired", errUnauthorized)

// errorBody is an error in JSON.
type errorBody struct {
	Code    string        `json:"code"` // a pai.Code, or "unauthorized"
	Message string        `json:"message"`
	Next    string        `json:"next,omitempty"`
	Errors  []job.Problem `json:"errors,omitempty"` // all problems of a job
}

const codeUnauthorized = "unauthorized"

// asBadRequest gives the refusal of a name or a password the status of OpenPAI. Other
// errors of a login say nothing about the password, so they have their own.
func asBadRequest(err error) error {
	var why *reason
	if errors.As(err, &why) && (why.code == codeNoUser || why.code == codeWrongPassword) {
		return badRequest{err}
	}
	return err
}

type badRequest struct{ error }

func (b badRequest) Unwrap() error { return b.error }

// statusOf is the HTTP status of an error.
func statusOf(err error) int {
	switch {
	case errors.Is(err, errUnauthorized), errors.Is(err, identity.ErrGuest):
		return http.StatusUnauthorized
	case errors.Is(err, errUnavailable):
		return http.StatusServiceUnavailable
	case errors.Is(err, errBusy):
		return http.StatusTooManyRequests
	case errors.As(err, new(badRequest)):
		return http.StatusBadRequest
	}
	switch pai.CodeOf(err) {
	case pai.CodeInvalid, pai.CodeUsage:
		return http.StatusBadRequest
	case pai.CodeForbidden:
		return http.StatusForbidden
	case pai.CodeNotFound:
		return http.StatusNotFound
	case pai.CodeConflict, pai.CodeRefused:
		return http.StatusConflict
	default:
		return http.StatusInternalServerError
	}
}

// serverFailed is what users see of an error that is not for them.
const serverFailed = "the server failed; see its log"

// hiddenError is an error of the Kubernetes API as users see it. Its own text names addresses,
// accounts, and objects of the cluster.
type hiddenError struct{ shown, err error }

func (e *hiddenError) Error() string   { return e.shown.Error() }
func (e *hiddenError) Unwrap() []error { return []error{e.shown, e.err} }

// withheld is an error that users see as another one. Its text is in the details, which the log
// and paictl show.
func withheld(next, what string, shown, err error) error {
	return &pai.Error{Code: pai.CodeFailed, Next: next, Details: err.Error(), Err: fmt.Errorf("%s: %w", what, &hiddenError{shown, err})}
}

// isForUsers reports whether the text of an error was written for users. The others name
// what only operators should know.
func isForUsers(err error) bool {
	var known *pai.Error
	return statusOf(err) < http.StatusInternalServerError || errors.As(err, &known) || errors.As(err, new(awayError))
}

func bodyOf(err error) errorBody {
	if !isForUsers(err) {
		return errorBody{Code: string(pai.CodeFailed), Message: serverFailed}
	}
	b := errorBody{Code: string(pai.CodeOf(err)), Message: err.Error()}
	var e *pai.Error
	if errors.As(err, &e) {
		b.Next = e.Next
		if e.Message != "" {
			b.Message = e.Message
		}
	}
	var problems job.Problems
	if errors.As(err, &problems) {
		b.Errors = problems
	} else {
		b.Message = err.Error()
	}
	if errors.Is(err, errUnauthorized) {
		b.Code = codeUnauthorized
	}
	return b
}

// errorFrom is the inverse of bodyOf. It shows the body of another server as it
// is.
func errorFrom(status int, body []byte) *pai.Error {
	var b errorBody
	if json.Unmarshal(body, &b) != nil || b.Code == "" {
		return pai.Errorf(pai.CodeFailed, "check that this is the address of a PAI REST server", "the server answered %d %s: %.200s", status, http.StatusText(status), body)
	}
	e := &pai.Error{Code: pai.Code(b.Code), Message: b.Message, Next: b.Next}
	if len(b.Errors) > 0 {
		e.Err = job.Problems(b.Errors)
	}
	if b.Code == codeUnauthorized {
		e.Code = pai.CodeForbidden
	}
	switch status {
	case http.StatusServiceUnavailable:
		e.Err = errors.Join(e.Err, errUnavailable)
	case http.StatusTooManyRequests:
		e.Err = errors.Join(e.Err, errBusy)
	}
	return e
}
