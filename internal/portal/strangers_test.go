package portal

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// stalledSignIn sends a request to sign in whose body never arrives, and returns the
// status of its answer.
func (b *browser) stalledSignIn(ctx context.Context) (int, error) {
	body, in := io.Pipe()
	defer in.Close()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.address+"/api/session", body)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Origin", b.address)
	req.Header.Set(requestHeader, "1")
	req.Header.Set("Content-Type", "application/json")
	resp, err := b.client.Do(req)
	if err != nil {
		return 0, err
	}
	resp.Body.Close()
	return resp.StatusCode, nil
}

// Requests without a session, whose bodies never arrive, take nothing from who has signed
// in. They end soon, so that others can sign in.
func TestStrangersDoNotCloseThePortal(t *testing.T) {
	t.Parallel()
	b := newWorld(t).browser()
	b.signIn("ada")
	strangers := make([]*browser, 4) // connections
	for i := range strangers {
		strangers[i] = b.browser()
	}
	const more = 20
	statuses := make(chan int, maxStrangers+more)
	var sent sync.WaitGroup
	start := time.Now()
	for i := range maxStrangers + more {
		sent.Go(func() {
			status, err := strangers[i%len(strangers)].stalledSignIn(t.Context())
			if err != nil {
				t.Error(err)
			}
			statuses <- status
		})
	}
	for range more {
		if status := <-statuses; status != http.StatusServiceUnavailable {
			t.Errorf("above the limit: got %d", status)
		}
	}
	for _, path := range []string{"/", "/api/session", restPrefix + "/api/v2/jobs"} {
		if a := b.do(http.MethodGet, path, "", nil); a.status != http.StatusOK {
			t.Errorf("%s of who has signed in: got %d, %s", path, a.status, a.body)
		}
	}
	sent.Wait()
	if took := time.Since(start); took > 30*time.Second {
		t.Errorf("the strangers were served for %s", took)
	}
	for range maxStrangers {
		if status := <-statuses; status != http.StatusBadRequest {
			t.Errorf("a body that never arrives: got %d", status)
		}
	}
	b.browser().signIn("bob")
}

// The same for a request that is forwarded without a session.
func TestBodiesOfStrangersArriveSoon(t *testing.T) {
	t.Parallel()
	b := newWorld(t).browser()
	body, in := io.Pipe()
	defer in.Close()
	start := time.Now()
	a := b.do(http.MethodGet, restPrefix+"/api/v2/info", "", func(r *http.Request) { r.ContentLength, r.Body = -1, body })
	if took := time.Since(start); a.status != http.StatusBadRequest || took > 30*time.Second {
		t.Errorf("after %s: got %d, %s", took, a.status, a.body)
	}
}

// A body that arrived in time does not end a request that takes longer than the body may.
func TestSlowSignInIsNotEnded(t *testing.T) {
	t.Parallel()
	h := &Handler{REST: mustParse(t, "https://rest.example"), Keys: &Keys{File: filepath.Join(t.TempDir(), "key")}, Dist: built(), Log: discard(),
		Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			select {
			case <-r.Context().Done():
				return nil, r.Context().Err()
			case <-time.After(strangerBody + 2*time.Second):
				return &http.Response{StatusCode: http.StatusBadRequest, Body: io.NopCloser(strings.NewReader(`{"code":"IncorrectPasswordError"}`))}, nil
			}
		})}
	write(t, h.Keys.File, []byte(strings.Repeat("k", KeySize)))
	routes, err := h.Routes()
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewTLSServer(routes)
	defer server.Close()
	b := (&world{t: t, address: server.URL}).browser()
	b.client = server.Client()
	if a := b.do(http.MethodPost, "/api/session", `{"username":"ada","password":"wrong"}`, nil); a.status != http.StatusUnauthorized {
		t.Errorf("got %d, %s", a.status, a.body)
	}
}
