package rest

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"pai.dev/pai/internal/job"
)

// A server that ends answers all requests while it drains, is not ready, and ends
// followed logs.
func TestServerEndsWithoutDroppingRequests(t *testing.T) {
	t.Parallel()
	s := &scripted{jobs: []job.Status{}, logs: func(ctx context.Context, _ LogOptions) (io.ReadCloser, error) {
		r, w := io.Pipe()
		context.AfterFunc(ctx, func() { w.CloseWithError(ctx.Err()) })
		return r, nil
	}}
	const drain = 5 * time.Second
	access, stop := start(t, s, drain)
	c := client(t, access)
	following, err := c.logs(t.Context(), JobID{"alice", "train"}, LogOptions{Follow: true})
	if err != nil {
		t.Fatal(err)
	}
	defer following.Close()
	ready := func() int {
		resp, err := c.http.Get(access.URLs[0] + "/readyz")
		if err != nil {
			return 0
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	if got := ready(); got != http.StatusOK {
		t.Fatalf("readyz: %d", got)
	}
	started := time.Now()
	ended := make(chan error, 1)
	go func() { ended <- stop() }()
	// What fails counts if it failed before the drain can have ended: a call on a busy host
	// can take longer.
	got := ready()
	for ; got == http.StatusOK && time.Since(started) < drain; got = ready() {
		time.Sleep(5 * time.Millisecond)
	}
	if got == http.StatusOK || got != http.StatusServiceUnavailable && time.Since(started) < drain {
		t.Errorf("readyz while ending: %d", got)
	}
	for time.Since(started) < drain-time.Second {
		// New connections, as new clients make them.
		if _, err := client(t, access).List(t.Context(), Filter{}); err != nil {
			if took := time.Since(started); took < drain {
				t.Fatalf("after %s of draining: %v", took, err)
			}
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err := <-ended; err != nil {
		t.Errorf("the server ended with: %v", err)
	}
	if took := time.Since(started); took > time.Minute {
		t.Errorf("ending took %s", took)
	}
	if _, err := io.ReadAll(following); err == nil {
		t.Error("what was followed looks as if it had come to its end")
	}
}

func TestMetricsContainNoUsers(t *testing.T) {
	t.Parallel()
	access, _ := start(t, &scripted{jobs: []job.Status{{}}}, 0)
	c := client(t, access)
	for range 3 {
		if _, err := c.Get(t.Context(), JobID{"alice", "secret-project"}); err != nil {
			t.Fatal(err)
		}
	}
	if there, err := c.do(t.Context(), "BREW", "/nothing/here", nil, "", nil); err == nil {
		there.Body.Close()
		t.Error("there is something")
	}
	read := func(url string) (int, string) {
		t.Helper()
		resp, err := c.http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		data, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(data)
	}
	for _, login := range []string{"", "scrape:@", "scrape:wrong@", "for%20metrics:x@"} {
		if code, text := read(strings.Replace(access.URLs[0], "://", "://"+login, 1) + "/metrics"); code != http.StatusUnauthorized || strings.Contains(text, "pai_rest") {
			t.Errorf("with the login %q: got %d, %s", login, code, text)
		}
	}
	_, text := read(strings.Replace(access.URLs[0], "://", "://scrape:for%20metrics@", 1) + "/metrics")
	for _, want := range []string{
		`pai_rest_request_seconds_count{code="200",method="GET",route="/api/v2/jobs/{id}"} 3`,
		`pai_rest_request_seconds_bucket{code="200",method="GET",route="/api/v2/jobs/{id}",le="+Inf"} 3`,
		`pai_rest_request_seconds_count{code="401",method="GET",route="/metrics"} 4`,
		`pai_rest_request_seconds_count{code="405",method="other",route="other"} 1`,
		"pai_rest_requests_in_flight 1\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in:\n%s", want, text)
		}
	}
	for _, no := range []string{"alice", "secret-project", "nothing/here", "BREW"} {
		if strings.Contains(text, no) {
			t.Errorf("%s is in:\n%s", no, text)
		}
	}
}

// A server without the password of the metrics shows them to no one.
func TestMetricsWithoutPasswordAreClosed(t *testing.T) {
	t.Parallel()
	h := &Handler{}
	for _, password := range []string{"", "x"} {
		req := httptest.NewRequest(http.MethodGet, "/metrics", nil)
		req.SetBasicAuth("scrape", password)
		w := httptest.NewRecorder()
		h.withMetricsPassword(http.NotFoundHandler()).ServeHTTP(w, req)
		if w.Code != http.StatusUnauthorized {
			t.Errorf("password %q: got %d, want 401", password, w.Code)
		}
	}
}
