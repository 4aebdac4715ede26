package rest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/pai"
)

// scripted is a JobAPI that answers what it is told to, and remembers.
type scripted struct {
	mu      sync.Mutex
	err     error
	jobs    []job.Status
	calls   []string
	callers []Caller
	logs    func(ctx context.Context, o LogOptions) (io.ReadCloser, error)
}

func (s *scripted) called(ctx context.Context, format string, args ...any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, fmt.Sprintf(format, args...))
	c, err := callerOf(ctx)
	if err != nil {
		return err
	}
	s.callers = append(s.callers, c)
	return s.err
}

func (s *scripted) Submit(ctx context.Context, sub Submission) (Submitted, error) {
	err := s.called(ctx, "submit %s to %q", sub.Protocol, sub.VirtualCluster)
	return Submitted{JobRef: pai.JobRef{User: "alice", Name: "train"}, ID: "alice~train"}, err
}

func (s *scripted) List(ctx context.Context, f Filter) ([]job.Status, error) {
	return s.jobs, s.called(ctx, "list %+v", f)
}

func (s *scripted) Get(ctx context.Context, id JobID) (job.Status, error) {
	if err := s.called(ctx, "get %s", id); err != nil {
		return job.Status{}, err
	}
	return s.jobs[0], nil
}

func (s *scripted) Protocol(ctx context.Context, id JobID) ([]byte, error) {
	return []byte("name: train\n"), s.called(ctx, "protocol %s", id)
}

func (s *scripted) Stop(ctx context.Context, id JobID) error { return s.called(ctx, "stop %s", id) }

func (s *scripted) Logs(ctx context.Context, id JobID, o LogOptions) (io.ReadCloser, error) {
	if err := s.called(ctx, "logs %s %s %d", id, o.TaskRole, o.Index); err != nil {
		return nil, err
	}
	return s.logs(ctx, o)
}

// tokens knows callers by their tokens.
type tokens map[string]Caller

func (t tokens) Caller(_ context.Context, token string) (Caller, error) {
	c, ok := t[token]
	if !ok {
		return Caller{}, errUnauthorized
	}
	return c, nil
}

func (t tokens) Ready(context.Context) error { return nil }

// start serves a JobAPI over TLS on loopback and returns the access to it.
func start(t *testing.T, s JobAPI, drain time.Duration) (access Access, stop func() error) {
	t.Helper()
	now := time.Now()
	ca, err := newCA(now)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := newServerCert(ca, []string{"127.0.0.1"}, now)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "tls.crt"), pair.cert)
	writeFile(t, filepath.Join(dir, "tls.key"), pair.key)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	srv := &Server{
		Handler: &Handler{Jobs: s, Release: "v0.10", Log: log, Users: tokens{
			"alices": {Name: "alice"}, "admins": {Name: "admin", Admin: true},
		}},
		CertDir: dir, Drain: drain, Log: log,
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- srv.Run(ctx, l) }()
	stop = sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() { _ = stop() })
	return Access{URLs: []string{"https://" + l.Addr().String()}, CA: ca.cert, User: "alice", Token: "alices"}, stop
}

func writeFile(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func client(t *testing.T, a Access) *Client {
	t.Helper()
	c, err := NewClient(a)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestEveryCallArrives(t *testing.T) {
	t.Parallel()
	code := 3
	status := job.Status{
		JobRef: pai.JobRef{User: "alice", Name: "train", VirtualCluster: "default"}, State: job.StateRunning,
		Created:   time.Date(2025, 1, 2, 3, 4, 5, 0, time.UTC),
		TaskRoles: []job.TaskRoleStatus{{Name: "worker", Tasks: []job.TaskStatus{{State: job.StateFailed, ExitCode: &code}}}},
	}
	s := &scripted{jobs: []job.Status{status}, logs: func(context.Context, LogOptions) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader("one\ntwo\n")), nil
	}}
	access, _ := start(t, s, 0)
	c, id := client(t, access), JobID{"alice", "train"}

	done, err := c.Submit(t.Context(), Submission{Protocol: []byte("x"), VirtualCluster: "research"})
	if err != nil || done.ID != "alice~train" {
		t.Errorf("submit: %+v, %v", done, err)
	}
	jobs, err := c.List(t.Context(), Filter{User: "alice", VirtualCluster: "vc", State: job.StateRunning})
	if err != nil || !reflect.DeepEqual(jobs, s.jobs) {
		t.Errorf("list: %+v, %v", jobs, err)
	}
	if got, err := c.Get(t.Context(), id); err != nil || !reflect.DeepEqual(got, status) {
		t.Errorf("get: %+v, %v", got, err)
	}
	if text, err := c.Protocol(t.Context(), id); err != nil || string(text) != "name: train\n" {
		t.Errorf("protocol: %q, %v", text, err)
	}
	if err := c.Stop(t.Context(), id); err != nil {
		t.Errorf("stop: %v", err)
	}
	stream, err := c.Logs(t.Context(), id, LogOptions{TaskRole: "worker", Index: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	if text, err := io.ReadAll(stream); err != nil || string(text) != "one\ntwo\n" {
		t.Errorf("logs: %q, %v", text, err)
	}
	want := []string{
		`submit x to "research"`, "list {User:alice VirtualCluster:vc State:RUNNING}", "get alice~train",
		"protocol alice~train", "stop alice~train", "logs alice~train worker 1",
	}
	if !reflect.DeepEqual(s.calls, want) {
		t.Errorf("calls:\n%q\nwant\n%q", s.calls, want)
	}
	for _, caller := range s.callers {
		if caller != (Caller{Name: "alice"}) {
			t.Errorf("a call came from %+v", caller)
		}
	}
}

func TestErrorsKeepTheirMeaning(t *testing.T) {
	t.Parallel()
	problems := job.Problems{{Line: 3, Column: 7, Path: "name", Message: "is missing"}, {Message: "another"}}
	cases := []struct {
		err    error
		status int
	}{
		{&pai.Error{Code: pai.CodeInvalid, Message: "the job is not valid", Next: "mend it", Err: problems}, 400},
		{pai.Errorf(pai.CodeForbidden, "ask its owner", "not yours"), 403},
		{pai.Errorf(pai.CodeNotFound, "", "no job"), 404},
		{inUse(JobID{"a", "b"}), 409},
		{pai.Errorf(pai.CodeRefused, "", "already ended"), 409},
		{errors.New("a bug"), 500},
		{apiError("list", errors.New("connection refused")), 503},
	}
	s := &scripted{}
	access, _ := start(t, s, 0)
	c := client(t, access)
	for _, want := range cases {
		s.mu.Lock()
		s.err = want.err
		s.mu.Unlock()
		_, err := c.Submit(t.Context(), Submission{Protocol: []byte("x")})
		if pai.CodeOf(err) != pai.CodeOf(want.err) || statusOf(want.err) != want.status {
			t.Errorf("%v: code %s, status %d; want %s, %d", want.err, pai.CodeOf(err), statusOf(want.err), pai.CodeOf(want.err), want.status)
		}
		var sent, got *pai.Error
		if errors.As(want.err, &sent) && (!errors.As(err, &got) || got.Next != sent.Next) {
			t.Errorf("%v: next is %q, want %q", want.err, got.Next, sent.Next)
		}
		var back job.Problems
		if errors.As(want.err, new(job.Problems)) && (!errors.As(err, &back) || !reflect.DeepEqual(back, problems)) {
			t.Errorf("problems came back as %v", back)
		}
		if errors.Is(want.err, errUnavailable) != errors.Is(err, errUnavailable) {
			t.Errorf("%v came back as %v", want.err, err)
		}
	}
}

func TestNobodyComesInWithoutAToken(t *testing.T) {
	t.Parallel()
	s := &scripted{}
	access, _ := start(t, s, 0)
	access.Token = "wrong"
	_, err := client(t, access).List(t.Context(), Filter{})
	if pai.CodeOf(err) != pai.CodeForbidden {
		t.Errorf("a wrong token gives %v", err)
	}
	hc := client(t, access).http
	for _, header := range []string{"", "Bearer", "Bearer ", "Basic alices", "alices", "Bearer alicesx"} {
		for _, path := range []string{"/api/v2/jobs", "/api/v2/jobs/alice~train", "/api/v2/jobs/alice~train/logs", "/api/v2/jobs/alice~train/config"} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, access.URLs[0]+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", header)
			resp, err := hc.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusUnauthorized {
				t.Errorf("GET %s with %q: %s", path, header, resp.Status)
			}
		}
	}
	if len(s.calls) > 0 {
		t.Errorf("calls came through: %v", s.calls)
	}
	if info, err := client(t, access).Info(t.Context()); err != nil || info.Release != "v0.10" {
		t.Errorf("info: %+v, %v", info, err)
	}
}

func TestClientTrustsOnlyItsAuthority(t *testing.T) {
	t.Parallel()
	access, _ := start(t, &scripted{}, 0)
	other, err := newCA(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	access.CA = other.cert
	var unknown x509.UnknownAuthorityError
	if _, err := client(t, access).Info(t.Context()); err == nil || !strings.Contains(err.Error(), unknown.Error()[:20]) {
		t.Errorf("a server of another authority: %v", err)
	}
}

func TestServerSpeaksOnlyTLS12AndNewer(t *testing.T) {
	t.Parallel()
	access, _ := start(t, &scripted{}, 0)
	address := strings.TrimPrefix(access.URLs[0], "https://")
	conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11}) // the version is what is tried
	if err == nil {
		conn.Close()
		t.Error("TLS 1.1 is spoken")
	}
	resp, err := http.Get("http://" + address + "/healthz")
	if err == nil {
		resp.Body.Close()
		if resp.StatusCode < 400 {
			t.Errorf("plain HTTP is answered: %s", resp.Status)
		}
	}
}

func TestBadRequests(t *testing.T) {
	t.Parallel()
	access, _ := start(t, &scripted{}, 0)
	c := client(t, access)
	for _, r := range []struct {
		method, path, body string
		status             int
	}{
		{"GET", "/api/v2/jobs/train", "", 400},
		{"GET", "/api/v2/jobs/~train", "", 400},
		{"GET", "/api/v2/jobs/a%2fb~train", "", 400},
		{"GET", "/api/v2/jobs?username=a,b", "", 400},
		{"GET", "/api/v2/jobs/a~b/logs?index=x", "", 400},
		{"GET", "/api/v2/jobs/a~b/logs?follow=perhaps", "", 400},
		{"PUT", "/api/v2/jobs/a~b/executionType", `{"value":"PAUSE"}`, 400},
		{"PUT", "/api/v2/jobs/a~b/executionType", `{"value":"START"}`, 409},
		{"PUT", "/api/v2/jobs/a~b/executionType", `stop`, 400},
		{"DELETE", "/api/v2/jobs/a~b", "", 405},
		{"GET", "/api/v1/jobs", "", 404},
	} {
		req, err := http.NewRequestWithContext(t.Context(), r.method, access.URLs[0]+r.path, strings.NewReader(r.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer alices")
		resp, err := c.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != r.status || resp.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %s %s: %s, %s; want %d as JSON", r.method, r.path, r.body, resp.Status, resp.Header.Get("Content-Type"), r.status)
		}
	}
}

// What is followed over connections that break is passed on whole and once.
func TestFollowedLogsSurviveBrokenConnections(t *testing.T) {
	t.Parallel()
	at := func(n int) string { return time.Date(2025, 1, 1, 0, 0, n/3, n, time.UTC).Format(time.RFC3339Nano) }
	line := func(n int) string { return fmt.Sprintf("%s line %d\n", at(n), n) }
	attempt := 0
	s := &scripted{logs: func(_ context.Context, o LogOptions) (io.ReadCloser, error) {
		attempt++
		if !o.Timestamps || !o.Follow {
			t.Errorf("attempt %d asks for %+v", attempt, o)
		}
		// As Kubernetes does: everything of that second and later.
		var text strings.Builder
		upTo := min(attempt*2, 7)
		for n := range upTo {
			if since := o.Since.Truncate(time.Second); time.Date(2025, 1, 1, 0, 0, n/3, n, time.UTC).Before(since) {
				continue
			}
			text.WriteString(line(n))
		}
		if upTo == 7 {
			return io.NopCloser(strings.NewReader(text.String())), nil
		}
		broken := io.MultiReader(strings.NewReader(text.String()+line(upTo)[:20]), failing{})
		return io.NopCloser(broken), nil
	}}
	access, _ := start(t, s, 0)
	stream, err := client(t, access).Logs(t.Context(), JobID{"alice", "train"}, LogOptions{Follow: true})
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	got, err := io.ReadAll(stream)
	if want := "line 0\nline 1\nline 2\nline 3\nline 4\nline 5\nline 6\n"; err != nil || string(got) != want {
		t.Errorf("got %q, %v", got, err)
	}
	if attempt != 4 {
		t.Errorf("%d attempts", attempt)
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// A server that is told to end answers what arrives while it drains, says that
// it is not ready, and ends what is followed.
func TestEndingDropsNoRequest(t *testing.T) {
	t.Parallel()
	s := &scripted{jobs: []job.Status{}, logs: func(ctx context.Context, _ LogOptions) (io.ReadCloser, error) {
		r, w := io.Pipe()
		context.AfterFunc(ctx, func() { w.CloseWithError(ctx.Err()) })
		return r, nil
	}}
	access, stop := start(t, s, time.Second)
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
	begun := time.Now()
	ended := make(chan error, 1)
	go func() { ended <- stop() }()
	for ready() == http.StatusOK && time.Since(begun) < time.Second {
		time.Sleep(5 * time.Millisecond)
	}
	if got := ready(); got != http.StatusServiceUnavailable {
		t.Errorf("readyz while ending: %d", got)
	}
	for time.Since(begun) < 800*time.Millisecond {
		// Connections of its own, as new clients make them.
		if _, err := client(t, access).List(t.Context(), Filter{}); err != nil {
			t.Fatalf("after %s of draining: %v", time.Since(begun), err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err := <-ended; err != nil {
		t.Errorf("the server ended with: %v", err)
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("ending took %s", took)
	}
	if _, err := io.ReadAll(following); err == nil {
		t.Error("what was followed looks as if it had come to its end")
	}
}

func TestMetricsSayNothingOfUsers(t *testing.T) {
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
	resp, err := c.http.Get(access.URLs[0] + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	for _, want := range []string{
		`pai_rest_request_seconds_count{method="GET",route="/api/v2/jobs/{id}",code="200"} 3`,
		`pai_rest_request_seconds_bucket{method="GET",route="/api/v2/jobs/{id}",code="200",le="+Inf"} 3`,
		`pai_rest_request_seconds_count{method="other",route="other",code="405"} 1`,
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
