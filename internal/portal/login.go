package portal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

const (
	callTimeout = 30 * time.Second
	// maxAnswer is the longest answer to a call of the portal itself.
	maxAnswer = 64 << 10
	openPAI   = "/rest-server/api/v2"
)

// login asks the REST server for a token. It slows down who guesses passwords: the portal
// sends every attempt there.
func (h *Handler) login(ctx context.Context, username, password string) (Session, error) {
	body, err := json.Marshal(map[string]string{"username": username, "password": password})
	if err != nil {
		return Session{}, err
	}
	var answer struct {
		Token string `json:"token"`
		// Why the REST server refuses.
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	status, err := h.call(ctx, http.MethodPost, openPAI+"/authn/basic/login", "", body, &answer)
	switch {
	case err != nil:
		return Session{}, err
	case status == http.StatusTooManyRequests:
		return Session{}, errBusy
	case status >= 500:
		return Session{}, errUnavailable
	case answer.Code == "NoUserError", answer.Code == "IncorrectPasswordError":
		// An unknown user and a wrong password look the same.
		return Session{}, errPassword
	case status != http.StatusOK || answer.Token == "":
		h.Log.Error("the REST server refuses to sign in a user for another reason than the password", "status", status, "code", answer.Code, "message", answer.Message)
		return Session{}, errSignIn
	}
	s, err := h.check(ctx, answer.Token)
	s.Made = true
	return s, err
}

// check asks the REST server whose a token is. The error is errToken if it is not valid.
func (h *Handler) check(ctx context.Context, token string) (Session, error) {
	var answer struct {
		Username string `json:"username"`
		Admin    bool   `json:"admin"`
		Exp      int64  `json:"exp"`
	}
	status, err := h.call(ctx, http.MethodGet, openPAI+"/tokens/check", token, nil, &answer)
	switch {
	case err != nil:
		return Session{}, err
	case status == http.StatusTooManyRequests:
		return Session{}, errBusy
	case status >= 500:
		return Session{}, errUnavailable
	case status != http.StatusOK || answer.Username == "":
		return Session{}, errToken
	}
	s := Session{Token: token, Username: answer.Username, Admin: answer.Admin}
	if answer.Exp > 0 {
		s.Expires = time.Unix(answer.Exp, 0).UTC()
	}
	return s, nil
}

// logout revokes the token of a session. A token that is not valid any more is revoked.
func (h *Handler) logout(ctx context.Context, s Session) error {
	status, err := h.call(ctx, http.MethodDelete, openPAI+"/authn/basic/logout", s.Token, nil, nil)
	if err == nil && status != http.StatusOK && status != http.StatusUnauthorized {
		err = fmt.Errorf("the REST server answered %d", status)
	}
	return err
}

// call sends a request of the portal itself and reads the answer. Of a request that fails,
// the answer is read if it can be: not every one has a code.
func (h *Handler) call(ctx context.Context, method, path, token string, body []byte, into any) (int, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, callTimeout, fmt.Errorf("no answer within %s", callTimeout))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, h.REST.JoinPath(path).String(), bytes.NewReader(body))
	if err != nil {
		return 0, fmt.Errorf("ask the REST server: %w", err)
	}
	if len(body) == 0 {
		req.Body = http.NoBody
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", userAgent)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := h.Transport.RoundTrip(req)
	if err != nil {
		return 0, h.unavailable(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return 0, h.unavailable(err)
	}
	if into != nil {
		if err := json.Unmarshal(data, into); err != nil && resp.StatusCode == http.StatusOK {
			return 0, fmt.Errorf("read the answer of the REST server to %s %s: %w", method, path, errors.New("it is not the expected JSON"))
		}
	}
	return resp.StatusCode, nil
}

// unavailable logs why the REST server gave no answer.
func (h *Handler) unavailable(err error) error {
	h.Log.Warn("the REST server is unavailable", "error", err)
	return errUnavailable
}
