package rest

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-chi/chi/v5"

	"pai.dev/pai/internal/identity"
	"pai.dev/pai/internal/pai"
)

// withToken creates a user and returns a token of a login, which takes no password.
func (w *whole) withToken(t *testing.T, a Accounts, name string, admin bool) string {
	t.Helper()
	if _, err := a.Create(t.Context(), name, UserChange{Admin: &admin}); err != nil {
		t.Fatal(err)
	}
	text, err := a.addToken(t.Context(), name, tokenOfLogin, loginLife, func(*directory, *user) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// change is a request of the caller that changes the users.
func (w *whole) change(t *testing.T, e endpoint, caller string) (path, body string) {
	t.Helper()
	values := map[string]string{"user": "bob", "group": "team", "token": ""}
	if strings.Contains(e.path, "{token}") {
		token, err := w.accounts.CreateApplicationToken(t.Context(), caller)
		if err != nil {
			t.Fatal(err)
		}
		values["token"] = token
	}
	path = pathPart.ReplaceAllStringFunc(e.path, func(p string) string { return values[p[1:len(p)-1]] })
	switch last := path[strings.LastIndex(path, "/")+1:]; {
	case e.kind == identity.Profile:
		body = fmt.Sprintf(`{"data":{"username":%q,"email":"new@example.com"},"patch":true}`, caller)
	case last == "group" && e.method == http.MethodDelete:
		body = `{"groupname":"team"}`
	case last == "group" && strings.Contains(e.path, "{user}"):
		body = fmt.Sprintf(`{"groupname":%q}`, groupAdmin)
	case last == "grouplist":
		body = fmt.Sprintf(`{"grouplist":[%q]}`, groupAdmin)
	case e.kind == identity.User && e.verb == identity.Create:
		body = `{"username":"carl","password":"secret-carl","admin":true}`
	case e.kind == identity.User && e.verb == identity.Update:
		body = `{"data":{"username":"bob","admin":true},"patch":true}`
	case e.kind == identity.Group && e.verb == identity.Create:
		body = `{"groupname":"new-team","extension":{"acls":{"admin":true}}}`
	case e.kind == identity.Group && e.verb == identity.Update:
		body = `{"data":{"groupname":"team","extension":{"acls":{"admin":true}}},"patch":true}`
	}
	return path, body
}

// changesUsers reports whether an endpoint writes what is stored of users. A login has a
// password instead of a right.
func changesUsers(e endpoint) bool {
	switch e.kind {
	case identity.User, identity.Profile, identity.Group, identity.Members, identity.Token:
		return e.method != http.MethodGet
	case identity.Session:
		return e.method != http.MethodGet && e.verb != identity.Create
	default:
		return false
	}
}

// Another server takes the right of a caller. This one has just read the users and does
// not know that yet: nevertheless, the caller changes no users any more, at no endpoint.
func TestRightsThatWereTakenChangeNoUsers(t *testing.T) {
	t.Parallel()
	taken := map[string]func(t *testing.T, other Accounts, caller, token string){
		"nothing is taken": nil,
		"the right": func(t *testing.T, other Accounts, caller, _ string) {
			t.Helper()
			if _, err := other.Update(t.Context(), caller, UserChange{Admin: new(false)}); err != nil {
				t.Fatal(err)
			}
		},
		"the token": func(t *testing.T, other Accounts, caller, text string) {
			t.Helper()
			if err := other.Revoke(t.Context(), caller, token{SHA256: hashToken(text)}.id()); err != nil {
				t.Fatal(err)
			}
		},
		"the account, whose name another user gets": func(t *testing.T, other Accounts, caller, _ string) {
			t.Helper()
			if _, err := other.Update(t.Context(), caller, UserChange{Admin: new(false)}); err != nil {
				t.Fatal(err)
			}
			if err := other.Delete(t.Context(), caller); err != nil {
				t.Fatal(err)
			}
			if _, err := other.Create(t.Context(), caller, UserChange{Admin: new(true)}); err != nil {
				t.Fatal(err)
			}
		},
	}
	for what, take := range taken {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w := newWhole(t, identity.Policy{}, "default")
			other := NewUsers(w.memory, UsersByEntry, func(error) {}).WithVirtualClusters([]string{"default"}).Accounts(w.memory)
			before := w.memory.secret(t).Data
			for _, e := range w.handler.openPAIEndpoints() {
				if !changesUsers(e) {
					continue
				}
				w.store(t, before)
				if _, err := w.accounts.CreateGroup(t.Context(), "team", GroupChange{}); err != nil {
					t.Fatal(err)
				}
				if _, err := w.accounts.Create(t.Context(), "bob", UserChange{Groups: &[]string{"team"}}); err != nil {
					t.Fatal(err)
				}
				caller := w.withToken(t, w.accounts, "boss", true)
				path, body := w.change(t, e, "boss")
				if take != nil {
					take(t, other, "boss", caller)
				}
				stored := w.memory.secret(t).Data
				status, text := w.ask(t, e.method, openPAIPrefix+path, caller, body)
				changed := !maps.EqualFunc(stored, w.memory.secret(t).Data, func(a, b []byte) bool { return reflect.DeepEqual(a, b) })
				own := e.kind == identity.Profile || e.kind == identity.Token || e.kind == identity.Session
				want := take == nil || what == "the right" && own
				refused := status == http.StatusUnauthorized || status == http.StatusForbidden && what == "the right" ||
					status == http.StatusNotFound && strings.Contains(e.path, "{token}") // it was deleted with its user
				if changed != want || refused == want || want && status >= 300 {
					t.Errorf("%s %s: got %d %s; changed %t, want %t", e.method, path, status, text, changed, want)
				}
				w.handler.callers = callers{} // the rate is not what is tested
			}
		})
	}
}

// store replaces what is stored of the users.
func (w *whole) store(t *testing.T, data map[string][]byte) {
	t.Helper()
	if err := changeUsers(t.Context(), w.memory, UsersByEntry, func(d *directory) error {
		secret := w.memory.secret(t)
		secret.Data = data
		stored, err := readDirectory(secret, UsersByEntry)
		*d = stored
		return err
	}); err != nil {
		t.Fatal(err)
	}
	w.accounts.Changed(t.Context())
}

// known answers as the callers at that moment; the last one stays.
type known struct{ callers *[]Caller }

func (k known) Caller(context.Context, string) (Caller, error) {
	now := (*k.callers)[0]
	if len(*k.callers) > 1 {
		*k.callers = (*k.callers)[1:]
	}
	return now, nil
}
func (known) Ready(context.Context) error { return nil }

// An administrator who is none any more does not follow the output of others further, and
// does not read it to its end.
func TestFollowedLogEndsWithTheRight(t *testing.T) {
	t.Parallel()
	for _, query := range []string{"?follow=true", ""} {
		synctest.Test(t, func(t *testing.T) {
			h := &Handler{Log: slog.New(slog.DiscardHandler), Users: known{&[]Caller{{Name: "boss", Admin: true}, {Name: "boss", Admin: true}, {Name: "boss"}}}}
			took, why := h.follows(t, "/api/v2/jobs/ada~train/logs"+query)
			if took != 2*tokenCheckEvery || pai.CodeOf(why) != pai.CodeForbidden {
				t.Errorf("the request ended after %s with %v", took, why)
			}
		})
	}
}

// follows returns how long a request that stays open does, and why it ends.
func (h *Handler) follows(t *testing.T, address string) (took time.Duration, why error) {
	t.Helper()
	start := time.Now()
	e := endpoint{method: http.MethodGet, path: "/jobs/{id}/logs", status: http.StatusOK, verb: identity.Read, kind: identity.Job, call: func(_ http.ResponseWriter, req *http.Request) (any, error) {
		<-req.Context().Done()
		took, why = time.Since(start), context.Cause(req.Context())
		return nil, req.Context().Err()
	}}
	r := chi.NewRouter()
	r.Method(e.method, "/api/v2"+e.path, h.serve(e, h.fail))
	req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	req.Header.Set("Authorization", "Bearer x")
	r.ServeHTTP(httptest.NewRecorder(), req)
	return took, why
}
