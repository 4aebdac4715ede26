package rest

import (
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/go-chi/chi/v5"

	"pai.dev/pai/internal/identity"
	"pai.dev/pai/internal/pai"
)

// infoOfOpenPAI has the fields of OpenPAI beside those of PAI.
type infoOfOpenPAI struct {
	Info
	Name         string `json:"name"`
	Version      string `json:"version"`
	LauncherType string `json:"launcherType"`
	AuthnMethod  string `json:"authnMethod"`
}

func (h *Handler) openPAIInfo(http.ResponseWriter, *http.Request) (any, error) {
	return infoOfOpenPAI{h.info(), "PAI RESTful API", h.Release, "k8s", "basic"}, nil
}

func (h *Handler) authnInfo(http.ResponseWriter, *http.Request) (any, error) {
	return map[string]string{"authn_type": "basic", "loginURI": "/api/v2/authn/basic/login", "loginURIMethod": "post"}, nil
}

// loginBody is what a client logs in with. The expiration is a number of seconds.
type loginBody struct {
	Username, Password string
	Expiration         json.Number `api:"seconds"`
}

// loginAnswer is the answer to a login.
type loginAnswer struct {
	Token        string `json:"token"`
	User         string `json:"user"`
	Admin        bool   `json:"admin"`
	HasGitHubPAT bool   `json:"hasGitHubPAT"`
}

// credentials are what a client logs in with: a form, or the same in JSON.
func credentials(req *http.Request) (user, password string, life time.Duration, err error) {
	kind, _, _ := mime.ParseMediaType(req.Header.Get("Content-Type"))
	values := url.Values{}
	if kind == "application/x-www-form-urlencoded" {
		text, err := io.ReadAll(io.LimitReader(req.Body, maxBody))
		if err == nil {
			values, err = url.ParseQuery(string(text))
		}
		if err != nil {
			return "", "", 0, invalidParameters("the form cannot be read")
		}
	} else {
		var body loginBody
		if err := readJSON(req, &body); err != nil {
			return "", "", 0, err
		}
		values.Set("username", body.Username)
		values.Set("password", body.Password)
		values.Set("expiration", body.Expiration.String())
	}
	if text := values.Get("expiration"); text != "" {
		seconds, err := strconv.ParseInt(text, 10, 32)
		if err != nil || seconds <= 0 {
			return "", "", 0, invalidParameters("expiration must be a number of seconds")
		}
		life = time.Duration(seconds) * time.Second
	}
	user, password = values.Get("username"), values.Get("password")
	if user == "" || password == "" {
		return "", "", 0, invalidParameters("username and password are required")
	}
	return user, password, life, nil
}

func (h *Handler) login(_ http.ResponseWriter, req *http.Request) (any, error) {
	if h.Logins == nil {
		return nil, pai.Errorf(pai.CodeFailed, "", "this server has no accounts")
	}
	user, password, life, err := credentials(req)
	if err != nil {
		return nil, err
	}
	token, info, err := h.Logins.Login(req.Context(), user, password, life)
	if err != nil {
		return nil, asBadRequest(err)
	}
	return loginAnswer{token, info.Username, info.Admin, info.Extension["githubPAT"] != nil}, nil
}

func (h *Handler) logout(_ http.ResponseWriter, req *http.Request) (any, error) {
	a, err := h.accounts()
	if err != nil {
		return nil, err
	}
	caller, err := callerOf(req.Context())
	if err != nil {
		return nil, err
	}
	used := token{SHA256: hashToken(bearer(req))}
	return message{"Logout successfully"}, a.Revoke(req.Context(), caller.Name, used.id())
}

type tokenList struct {
	Tokens []string `json:"tokens"`
}

func (h *Handler) listTokens(_ http.ResponseWriter, req *http.Request) (any, error) {
	a, err := h.accounts()
	if err != nil {
		return nil, err
	}
	caller, err := callerOf(req.Context())
	if err != nil {
		return nil, err
	}
	tokens, err := a.TokensOf(req.Context(), caller.Name)
	return tokenList{tokens}, err
}

// checkedToken says whose a token is. The times are seconds.
type checkedToken struct {
	Admin       bool   `json:"admin"`
	Application bool   `json:"application"`
	Expires     *int64 `json:"exp,omitempty"`
	Issued      *int64 `json:"iat,omitempty"`
	Username    string `json:"username"`
}

func (h *Handler) checkToken(_ http.ResponseWriter, req *http.Request) (any, error) {
	caller, err := callerOf(req.Context())
	if err != nil {
		return nil, err
	}
	answer := checkedToken{Username: caller.Name, Application: caller.Application, Admin: caller.Admin}
	if c, ok := identity.ReadClaims(bearer(req)); ok {
		answer.Issued = new(c.Issued.Unix())
		if !c.Expires.IsZero() {
			answer.Expires = new(c.Expires.Unix())
		}
	}
	return answer, nil
}

type createdToken struct {
	Application bool   `json:"application"`
	Token       string `json:"token"`
}

func (h *Handler) createToken(_ http.ResponseWriter, req *http.Request) (any, error) {
	a, err := h.accounts()
	if err != nil {
		return nil, err
	}
	caller, err := callerOf(req.Context())
	if err != nil {
		return nil, err
	}
	token, err := a.CreateApplicationToken(req.Context(), caller.Name)
	return createdToken{Application: true, Token: token}, err
}

func (h *Handler) revokeToken(_ http.ResponseWriter, req *http.Request) (any, error) {
	a, err := h.accounts()
	if err != nil {
		return nil, err
	}
	owner, id, err := a.OwnerOf(req.Context(), chi.URLParam(req, "token"))
	if err != nil {
		return nil, err
	}
	if err := h.authorize(req, identity.Delete, identity.Object{Kind: identity.Token, Name: id, Owner: owner}); err != nil {
		return nil, err
	}
	return message{"revoke successfully"}, a.Revoke(req.Context(), owner, id)
}
