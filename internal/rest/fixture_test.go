package rest

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/pai"
)

// scripted is a JobAPI that returns fixed answers and records its calls.
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

func (s *scripted) Preview(ctx context.Context, sub Submission) (Previewed, error) {
	err := s.called(ctx, "preview %s in %q", sub.Protocol, sub.VirtualCluster)
	return Previewed{Preview: job.Preview{Name: "train", Tasks: 2, TaskRoles: []job.RolePreview{}, Effects: []job.Effect{}}, ID: "alice~train"}, err
}

func (s *scripted) List(ctx context.Context, f Filter) ([]job.Status, error) {
	f.Incomplete = nil
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

func (s *scripted) Operations(ctx context.Context, id JobID) ([]JobOperation, error) {
	return []JobOperation{{ID: "1", JobLine: pai.JobLine{Job: id.String()}}}, s.called(ctx, "operations %s", id)
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
		Handler: &Handler{Jobs: s, Release: "v0.10", Log: log, MetricsPassword: "for metrics", Users: tokens{
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
