package rest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"

	"pai.dev/pai/internal/job"
)

// address is in what a Kubernetes client says, and in no answer to users.
const address = "10.96.0.1:443"

// fail makes every request to the cluster fail.
func (m *memory) fail(err error) {
	react := func(k8stesting.Action) (bool, runtime.Object, error) { return true, nil, err }
	m.clientset.(*fake.Clientset).PrependReactor("*", "*", react)
	m.dynamic.(*dynamicfake.FakeDynamicClient).PrependReactor("*", "*", react)
}

// No answer that says that the server failed, and no header, has what a Kubernetes client
// said: neither to users, nor to those without a token. The log has it.
func TestFailuresOfTheClusterAreNotShown(t *testing.T) {
	t.Parallel()
	secrets := schema.GroupResource{Resource: "secrets"}
	for what, failure := range map[string]error{
		"no connection": &url.Error{Op: "Get", URL: "https://" + address + "/api/v1/secrets/" + usersSecret, Err: errors.New("connection refused")},
		"canceled":      &url.Error{Op: "Get", URL: "https://" + address, Err: context.Canceled},
		"internal":      apierrors.NewInternalError(errors.New(address)),
		"forbidden":     apierrors.NewForbidden(secrets, address, errors.New("no rule")),
		"unauthorized":  apierrors.NewUnauthorized(address),
		"conflict":      apierrors.NewConflict(secrets, address, errors.New("changed")),
		"no method":     apierrors.NewMethodNotSupported(schema.GroupResource{Resource: address}, "list"),
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { failuresAreNotShown(t, failure) })
		})
	}
}

func failuresAreNotShown(t *testing.T, failure error) {
	m := newMemory("default")
	var log bytes.Buffer
	users := NewUsers(m, UsersByEntry, func(error) {}).WithVirtualClusters([]string{"default"})
	core := NewCore(m, []string{"default"})
	h := &Handler{Jobs: core, Users: tokens{"boss": {Name: "boss", Admin: true, VirtualClusters: []string{"default"}}}, Log: slog.New(slog.NewTextHandler(&log, nil)),
		Logins: NewLogins(users.Accounts(m)), Cluster: core, Operations: core, LinkKey: users.LinkKey(m)}
	w := &whole{memory: m, handler: h, accounts: Accounts{Store: m, VirtualClusters: []string{"default"}}}
	if _, err := w.accounts.Create(t.Context(), "owner", UserChange{Password: new("secret-owner")}); err != nil {
		t.Fatal(err)
	}
	type request struct{ method, path, token, body string }
	requests := []request{}
	for prefix, endpoints := range map[string][]endpoint{"/api/v2": h.endpoints(), openPAIPrefix: h.openPAIEndpoints()} {
		for _, e := range endpoints {
			path, body := w.request(t, e)
			requests = append(requests, request{e.method, prefix + path, "boss", strings.ReplaceAll(body, "research", "default")})
		}
	}
	requests = append(requests, request{"GET", openPAIPrefix + "/api/v2/virtual-clusters?nodes", "boss", ""})
	m.fail(failure)
	check := newAPICheck(t, document(t, h))
	ask := func(r request) int {
		req := httptest.NewRequestWithContext(t.Context(), r.method, r.path, strings.NewReader(r.body))
		if r.token != "" {
			req.Header.Set("Authorization", "Bearer "+r.token)
		}
		got := httptest.NewRecorder()
		h.Routes().ServeHTTP(got, req)
		for name, values := range got.Header() {
			if strings.Contains(strings.Join(values, " "), address) {
				t.Errorf("%s %s: header %s has %s", r.method, r.path, name, values)
			}
		}
		if text := got.Body.String(); got.Code >= 500 && (strings.Contains(text, address) || strings.Contains(text, usersSecret)) {
			t.Errorf("%s %s: %d %s", r.method, r.path, got.Code, text)
		}
		path, _, _ := strings.Cut(r.path, "?")
		if err := check.answer(r.method, path, got.Code, got.Header(), got.Body.Bytes()); err != nil {
			t.Error(err)
		}
		h.callers = callers{}
		return got.Code
	}
	failed := 0
	for _, r := range requests {
		if ask(r) >= 500 {
			failed++
		}
	}
	if failed < len(requests)/2 {
		t.Errorf("%d of %d requests failed", failed, len(requests))
	}
	h.Users, log = users, bytes.Buffer{}
	for _, r := range []request{{"GET", "/readyz", "", ""}, {"GET", "/api/v2/jobs", "made-up", ""}, {"GET", openPAIPrefix + "/api/v2/jobs", "made-up", ""},
		{"POST", openPAIPrefix + "/api/v2/authn/basic/login", "", `{"username": "owner", "password": "secret-owner"}`}} {
		if status := ask(r); status < 500 {
			t.Errorf("%s without users: %d", r.path, status)
		}
		if !strings.Contains(log.String(), address) {
			t.Errorf("%s: the log is %s", r.path, log.String())
		}
		log.Reset()
	}
}

// Why the output of a machine could not be read is in the log, and not in the header.
func TestMissingOutputHasNoCause(t *testing.T) {
	t.Parallel()
	m := &rotating{err: errors.New("exec on " + address)}
	s := &scripted{jobs: []job.Status{{}}, logs: func(ctx context.Context, o LogOptions) (io.ReadCloser, error) {
		_, err := m.output(t).kept(ctx, o, m.output(t).request)
		if err == nil {
			t.Error("the machine was read")
		}
		return io.NopCloser(strings.NewReader("a\n")), nil
	}}
	var log bytes.Buffer
	h := &Handler{Jobs: s, Users: tokens{"alices": {Name: "alice"}}, Log: slog.New(slog.NewTextHandler(&log, nil))}
	server := httptest.NewServer(h.Routes())
	defer server.Close()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/api/v2/jobs/alice~train/logs", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer alices")
	resp, err := server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if said := resp.Header.Get(missingHeader); !strings.Contains(said, "older output might be missing") || strings.Contains(said, address) {
		t.Errorf("the header is %q", said)
	}
	server.Close() // until then, the log is written
	if !strings.Contains(log.String(), address) {
		t.Errorf("the log is %s", log.String())
	}
}
