package rest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/pai"
)

func TestClientCallsReachTheJobAPI(t *testing.T) {
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
	would, err := c.Preview(t.Context(), Submission{Protocol: []byte("y"), VirtualCluster: "research"})
	if err != nil || would.ID != "alice~train" || would.Tasks != 2 {
		t.Errorf("dry run: %+v, %v", would, err)
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
	if got, err := c.Operations(t.Context(), id); err != nil || len(got) != 1 || got[0].ID != "1" || got[0].Job != "alice~train" {
		t.Errorf("operations: %+v, %v", got, err)
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
		`submit x to "research"`, `preview y in "research"`, "list {User:alice VirtualCluster:vc State:RUNNING Offset:0 Limit:0 Incomplete:<nil>}", "get alice~train",
		"protocol alice~train", "operations alice~train", "stop alice~train", "logs alice~train worker 1",
	}
	if !reflect.DeepEqual(s.calls, want) {
		t.Errorf("calls:\n%q\nwant\n%q", s.calls, want)
	}
	for _, caller := range s.callers {
		if !reflect.DeepEqual(caller, Caller{Name: "alice"}) {
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
		{&pai.Error{Code: pai.CodeInvalid, Message: "the job is not valid", Next: "fix it", Err: problems}, 400},
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

// A server whose machine has no kubelet keeps its connections after its pod was deleted.
// It ends them, so that clients reach another server.
func TestServerThatIsNotLetInEndsConnections(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err   error
		close bool
	}{
		{apierrors.NewUnauthorized("Unauthorized"), true},
		{errors.New("connection refused"), false},
	} {
		h := &Handler{Log: slog.New(slog.DiscardHandler)}
		w := httptest.NewRecorder()
		h.fail(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/api/v2/jobs", nil), apiError("list the jobs", c.err))
		if got := w.Header().Get("Connection") == "close"; got != c.close || w.Code != http.StatusServiceUnavailable {
			t.Errorf("%v: got status %d and closed %v, want 503 and %v", c.err, w.Code, got, c.close)
		}
	}
}

func TestRequestsNeedAToken(t *testing.T) {
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

// Whatever a browser opens is data: it must not run what a job wrote.
func TestAnswersAreData(t *testing.T) {
	t.Parallel()
	access, _ := start(t, &scripted{}, 0)
	hc := client(t, access).http
	for _, path := range []string{"/healthz", "/api/v2/jobs", "/api/v2/info", "/missing", openPAIPrefix + outputPath + "?link=x", openPAIPrefix + "/api/v2/info"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, access.URLs[0]+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := hc.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if sniff, policy := resp.Header.Get("X-Content-Type-Options"), resp.Header.Get("Content-Security-Policy"); sniff != "nosniff" || !strings.Contains(policy, "default-src 'none'") || !strings.Contains(policy, "sandbox") {
			t.Errorf("GET %s: X-Content-Type-Options %q, Content-Security-Policy %q", path, sniff, policy)
		}
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
		{"GET", "/api/v2/jobs/alice~b/logs?index=x", "", 400},
		{"GET", "/api/v2/jobs/alice~b/logs?follow=perhaps", "", 400},
		{"PUT", "/api/v2/jobs/alice~b/executionType", `{"value":"PAUSE"}`, 400},
		{"PUT", "/api/v2/jobs/alice~b/executionType", `{"value":"START"}`, 409},
		{"PUT", "/api/v2/jobs/alice~b/executionType", `stop`, 400},
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

// A server of v0.10 has no dry runs. It must not create the job, and paictl says why.
func TestDryRunOnAnOlderServer(t *testing.T) {
	t.Parallel()
	for _, answer := range []struct {
		status int
		body   string
	}{
		{http.StatusMethodNotAllowed, `{"code":"usage","message":"method POST is not supported here"}`},
		{http.StatusNotFound, `{"code":"not-found","message":"/api/v2/jobs/dry-run not found"}`},
	} {
		paths := make(chan string, 1)
		older := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			paths <- req.URL.Path
			w.WriteHeader(answer.status)
			_, _ = io.WriteString(w, answer.body)
		}))
		t.Cleanup(older.Close)
		ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: older.Certificate().Raw})
		_, err := client(t, Access{URLs: []string{older.URL}, CA: ca, Token: "x"}).Preview(t.Context(), Submission{Protocol: []byte("y")})
		if pai.CodeOf(err) != pai.CodeRefused || !strings.Contains(err.Error(), "has no dry run") {
			t.Errorf("%d: %v", answer.status, err)
		}
		if path := <-paths; path == "/api/v2/jobs" || path == "/api/v2/jobs/" {
			t.Errorf("the request went to %s, where v0.10 creates jobs", path)
		}
	}
}
