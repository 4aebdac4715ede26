package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"pai.dev/pai/internal/identity"
)

// whole is a REST server with accounts and jobs over a cluster in memory.
type whole struct {
	memory   *memory
	handler  *Handler
	accounts Accounts
	url      string
	http     *http.Client
	server   *httptest.Server
	// described has the description of the API, which has every answer.
	described func() *apiCheck
}

func newWhole(t *testing.T, policy identity.Policy, virtualClusters ...string) *whole {
	t.Helper()
	m, h := newHandler(t, policy, virtualClusters...)
	server := httptest.NewTLSServer(h.Routes())
	t.Cleanup(server.Close)
	return &whole{memory: m, handler: h, accounts: h.Logins.Accounts, url: server.URL, http: server.Client(), server: server,
		described: sync.OnceValue(func() *apiCheck { return newAPICheck(t, document(t, h)) })}
}

func newHandler(t *testing.T, policy identity.Policy, virtualClusters ...string) (*memory, *Handler) {
	t.Helper()
	m := newMemory(virtualClusters...)
	users := NewUsers(m, UsersByEntry, func(err error) { t.Error(err) }).WithVirtualClusters(virtualClusters)
	core := NewCore(m, virtualClusters).WithPolicy(policy)
	return m, &Handler{Jobs: core, Users: users, Release: "v0.11", Log: slog.New(slog.DiscardHandler), Policy: policy,
		Logins: NewLogins(users.Accounts(m)), Cluster: core, Operations: core, LinkKey: users.LinkKey(m)}
}

// user creates a user with a password, and returns a token of a login.
func (w *whole) user(t *testing.T, name string, admin bool, groups ...string) string {
	t.Helper()
	if groups == nil {
		groups = []string{}
	}
	change := UserChange{Password: new("secret-" + name), Groups: &groups}
	if admin {
		change.Admin = &admin
	}
	if _, err := w.accounts.Create(t.Context(), name, change); err != nil {
		t.Fatal(err)
	}
	return w.loggedIn(t, name)
}

func (w *whole) loggedIn(t *testing.T, name string) string {
	t.Helper()
	token, _, err := w.handler.Logins.Login(t.Context(), name, "secret-"+name, 0)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// ask sends a request and returns the status and the answer.
func (w *whole) ask(t *testing.T, method, path, token, body string) (int, string) {
	t.Helper()
	resp := w.do(t, method, path, token, body)
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, strings.TrimSpace(string(data))
}

func (w *whole) do(t *testing.T, method, path, token, body string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), method, w.url+path, bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := w.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return w.described().checked(t, method, path, resp)
}

// answer decodes an answer of a request that must succeed.
func answer[T any](t *testing.T, w *whole, method, path, token, body string) T {
	t.Helper()
	status, text := w.ask(t, method, path, token, body)
	var into T
	if status >= 300 || json.Unmarshal([]byte(text), &into) != nil {
		t.Fatalf("%s %s: %d %s", method, path, status, text)
	}
	return into
}

func pemOf(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
