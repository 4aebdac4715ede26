package portal

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// Requests reach the REST server as the user of the cookie, at the path that the page
// named, and nothing else of the request does.
func TestForwardedRequests(t *testing.T) {
	t.Parallel()
	b := newWorld(t).browser()
	b.signIn("ada")
	for _, c := range []struct {
		method, path, body string
		status             int
		call               string
	}{
		{http.MethodGet, "/api/v2/jobs", "", 200, "list"},
		{http.MethodGet, "/api/v2/jobs/ada~train", "", 200, "get ada~train"},
		{http.MethodHead, "/api/v2/jobs/ada~train/config", "", 405, ""},
		{http.MethodGet, "/api/v2/jobs/ada~train/config", "", 200, "protocol ada~train"},
		{http.MethodPost, "/api/v2/jobs", "name: train", 202, "submit 11"},
		{http.MethodPost, "/api/v2/jobs/dry-run", "name: train", 200, "preview"},
		{http.MethodPut, "/api/v2/jobs/ada~train/executionType", `{"value":"STOP"}`, 202, "stop ada~train"},
		{http.MethodGet, "/api/v2/jobs/bob~train", "", 403, ""},
		{http.MethodGet, "/rest-server/api/v2/jobs", "", 200, "list"},
		{http.MethodGet, "/rest-server/api/v2/users/ada", "", 200, ""},
	} {
		before := len(b.jobs.seen())
		a := b.do(c.method, restPrefix+c.path, c.body, nil)
		calls := b.jobs.seen()[before:]
		if a.status != c.status || strings.Join(calls, ",") != c.call {
			t.Errorf("%s %s: got %d, calls %v, %s; want %d, %q", c.method, c.path, a.status, calls, a.body, c.status, c.call)
		}
		if got := a.header.Get("Pai-Incomplete"); (got != "") != strings.HasPrefix(c.path, "/rest-server/api/v2/jobs") {
			t.Errorf("%s %s: the page sees that a list is incomplete: %q", c.method, c.path, got)
		}
		if a.header.Get("Access-Control-Allow-Origin") != "" || a.header.Get("WWW-Authenticate") != "" || a.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s %s: got headers %v", c.method, c.path, a.header)
		}
	}
}

// The page reaches what it needs, and nothing else: neither by another path, nor by one
// that two servers read in two ways.
func TestOtherPathsAreNotForwarded(t *testing.T) {
	t.Parallel()
	b := newWorld(t).browser()
	b.signIn("ada")
	for _, path := range []string{
		"/metrics", "/healthz", "/api/v2", "/api/v2/jobs/", "/api/v2/jobs//logs", "/api/v2/jobs/../../../metrics", "/api/v2/jobs/..", "/api/v2/jobs/a/../b",
		"/api/v2/jobs/ada~train%2Fconfig", "/api/v2/jobs/%2e%2e/%2E%2E/metrics", "/api/v2/jobs/ada~train%5clogs", "/api/v2/jobs/ada~train/config%00", "//api/v2/jobs",
		"/rest-server/log-manager/output", "/rest-server/api/v1/token", "/rest-server/api/v2/authn/basic/login", "/rest-server/api/v2/tokens/a/b", "/API/V2/jobs", "",
	} {
		a := b.do(http.MethodGet, restPrefix+path, "", nil)
		if a.status != http.StatusNotFound {
			t.Errorf("%s: got %d, %s", path, a.status, a.body)
		}
	}
	for _, method := range []string{http.MethodDelete, http.MethodPatch, "BREW", http.MethodOptions, http.MethodConnect} {
		if method == http.MethodConnect {
			continue // no path
		}
		if a := b.do(method, restPrefix+"/api/v2/jobs", "", nil); a.status != http.StatusMethodNotAllowed {
			t.Errorf("%s: got %d", method, a.status)
		}
	}
	if seen := b.jobs.seen(); len(seen) > 0 {
		t.Errorf("calls reached the REST server: %v", seen)
	}
}

// A request of another page does nothing, also of one at another port of the same host.
func TestRequestsOfOtherPagesAreRefused(t *testing.T) {
	t.Parallel()
	b := newWorld(t).browser()
	b.signIn("ada")
	const stop, body = restPrefix + "/api/v2/jobs/ada~train/executionType", `{"value":"STOP"}`
	without := func(names ...string) func(*http.Request) {
		return func(r *http.Request) {
			for _, n := range names {
				r.Header.Del(n)
			}
		}
	}
	with := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	for name, change := range map[string]func(*http.Request){
		"without the header":     without(requestHeader),
		"another value":          with(requestHeader, "0"),
		"another site":           with("Sec-Fetch-Site", "cross-site"),
		"another port":           with("Sec-Fetch-Site", "same-site"),
		"typed by the user":      with("Sec-Fetch-Site", "none"),
		"foreign origin":         with("Origin", "https://evil.example"),
		"another port as origin": with("Origin", "https://127.0.0.1:1"),
		"plain origin":           with("Origin", "http://"+b.host),
		"opaque origin":          with("Origin", "null"),
		"neither":                without("Sec-Fetch-Site", "Origin"),
	} {
		for _, path := range []string{stop, "/api/session"} {
			method := http.MethodPut
			if path != stop {
				method = http.MethodDelete
			}
			if a := b.do(method, path, body, change); a.status != http.StatusForbidden {
				t.Errorf("%s, %s: got %d", name, path, a.status)
			}
		}
	}
	for _, site := range []string{"cross-site", "same-site"} {
		if a := b.do(http.MethodGet, restPrefix+"/api/v2/jobs", "", with("Sec-Fetch-Site", site)); a.status != http.StatusForbidden {
			t.Errorf("read from %s: got %d", site, a.status)
		}
	}
	if seen := b.jobs.seen(); len(seen) > 0 {
		t.Errorf("calls reached the REST server: %v", seen)
	}
	for name, change := range map[string]func(*http.Request){"old browser": without("Sec-Fetch-Site"), "without origin": without("Origin")} {
		if a := b.do(http.MethodPut, stop, body, change); a.status != http.StatusAccepted {
			t.Errorf("%s: got %d, %s", name, a.status, a.body)
		}
	}
}

func TestBodiesAreBounded(t *testing.T) {
	t.Parallel()
	b := newWorld(t).browser()
	b.signIn("ada")
	large := strings.Repeat("x", 1<<20)
	for name, change := range map[string]func(*http.Request){
		"with a length": nil,
		"in parts":      func(r *http.Request) { r.ContentLength, r.Body = -1, io.NopCloser(strings.NewReader(large)) },
	} {
		for _, path := range []string{"/api/v2/jobs", "/rest-server/api/v2/tokens/application"} {
			a := b.do(http.MethodPost, restPrefix+path, large, change)
			if a.status != http.StatusRequestEntityTooLarge {
				t.Errorf("%s, %s: got %d, %s", name, path, a.status, a.body)
			}
		}
	}
	if a := b.do(http.MethodGet, restPrefix+"/api/v2/jobs", "x", nil); a.status != http.StatusRequestEntityTooLarge {
		t.Errorf("a body of GET: got %d", a.status)
	}
	if slices.ContainsFunc(b.jobs.seen(), func(c string) bool { return strings.HasPrefix(c, "submit") }) {
		t.Error("a job that is too large was submitted")
	}
}

// A connection that breaks within a body is no wrong password.
func TestUnfinishedBodyIsNamed(t *testing.T) {
	t.Parallel()
	req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", io.MultiReader(strings.NewReader("{"), iotest.ErrReader(io.ErrUnexpectedEOF)))
	if _, err := readBody(httptest.NewRecorder(), req, 100); !errors.Is(err, errBody) {
		t.Errorf("got %v, want %v", err, errBody)
	}
}

// Output arrives at the page while the task writes it, and the text of a job is never a
// page of this portal.
func TestOutputArrivesAtOnce(t *testing.T) {
	t.Parallel()
	b := newWorld(t).browser()
	b.signIn("ada")
	r, w := io.Pipe()
	b.jobs.logs = func(ctx context.Context) (io.ReadCloser, error) {
		context.AfterFunc(ctx, func() { w.CloseWithError(ctx.Err()) })
		return r, nil
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.address+restPrefix+"/api/v2/jobs/ada~train/logs?follow=true", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.AddCookie(&http.Cookie{Name: cookieName, Value: b.cookie})
	resp, err := b.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for _, line := range []string{"<script>one</script>\n", "two\n"} {
		if _, err := io.WriteString(w, line); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(line))
		if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != line {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	h := resp.Header
	if !strings.HasPrefix(h.Get("Content-Type"), "text/plain") || h.Get("X-Content-Type-Options") != "nosniff" || !strings.Contains(h.Get("Content-Security-Policy"), "sandbox") {
		t.Errorf("a browser could run output: %v", h)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); b.stopPortal() }()
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("output that is cut off looks complete")
	}
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Error("the portal does not end while output is followed")
	}
}

// Texts of jobs are JSON that no browser shows as a page.
func TestTextsOfJobsAreData(t *testing.T) {
	t.Parallel()
	b := newWorld(t).browser()
	b.signIn("ada")
	a := b.do(http.MethodGet, restPrefix+"/api/v2/jobs/ada~train", "", nil)
	if a.header.Get("Content-Type") != "application/json" || a.header.Get("X-Content-Type-Options") != "nosniff" || !strings.Contains(a.header.Get("Content-Security-Policy"), "default-src 'none'") {
		t.Errorf("got headers %v", a.header)
	}
}

// A REST server sees neither cookies nor addresses of a request, nor another token.
func TestRequestsCarryNothingElse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.browser()
	b.signIn("ada")
	got := http.Header{}
	h := &Handler{Keys: nil, Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		got = r.Header.Clone()
		got.Set("Url", r.URL.String())
		rec := httptest.NewRecorder()
		rec.Header().Set("Set-Cookie", "a=b")
		rec.Header().Set("Location", "https://evil.example")
		rec.Header().Set("Content-Type", "text/html")
		rec.Header().Set("Pai-Incomplete", "jobs are missing")
		return rec.Result(), nil
	}), Log: discard()}
	h.REST = mustParse(t, "https://rest.example")
	req := httptest.NewRequest(http.MethodGet, "/api/rest/api/v2/jobs?a=1;b=2&c=3", nil)
	for _, name := range []string{"Cookie", "X-Forwarded-For", "Forwarded", "Authorization", "Connection", "Upgrade", "X-Real-Ip", "Referer"} {
		req.Header.Set(name, "evil")
	}
	req.Header.Set("Accept", "text/plain")
	ctx := context.WithValue(req.Context(), forwardedKey{}, forwarded{"/api/v2/jobs", "the-token"})
	rec := httptest.NewRecorder()
	h.newProxy().ServeHTTP(rec, req.WithContext(ctx))
	if got.Get("Authorization") != "Bearer the-token" || got.Get("Accept") != "text/plain" || !strings.HasPrefix(got.Get("Url"), "https://rest.example/api/v2/jobs?") {
		t.Errorf("got %v", got)
	}
	for name, values := range got {
		if slices.Contains(values, "evil") {
			t.Errorf("header %s passed", name)
		}
	}
	if rec.Header().Get("Pai-Incomplete") != "jobs are missing" {
		t.Errorf("the page does not learn that a list is incomplete: %v", rec.Header())
	}
	if rec.Header().Get("Set-Cookie") != "" || rec.Header().Get("Location") != "" || rec.Header().Get("Content-Type") != "text/html" {
		t.Errorf("got answer %v", rec.Header())
	}
}
