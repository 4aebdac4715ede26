package rest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pai.dev/pai/internal/identity"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/poll"
)

// pipes is a network in memory, for tests with the clock of testing/synctest.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	if c, ok := <-p; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}
func (p pipes) Close() error   { return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

// slowly serves a handler with the time limits of the server, and returns a client. Both
// end with end.
func slowly(h *Handler) (c *Client, end func()) {
	network := make(pipes)
	h.Log = slog.New(slog.DiscardHandler)
	srv := &http.Server{Handler: h.Routes(), ReadTimeout: time.Minute, WriteTimeout: time.Minute}
	go func() { _ = srv.Serve(network) }()
	transport := &http.Transport{ResponseHeaderTimeout: callTimeout + dialTimeout, DialContext: func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		network <- far
		return near, nil
	}}
	c = &Client{access: Access{URLs: []string{"http://pai"}, Token: "x"}, http: &http.Client{Transport: transport}}
	return c, func() {
		close(network)
		transport.CloseIdleConnections()
		_ = srv.Close()
	}
}

// revocable knows one token until it is revoked.
type revocable struct {
	mu  sync.Mutex
	err error
}

func (r *revocable) Caller(context.Context, string) (Caller, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Caller{Name: "alice"}, r.err
}
func (*revocable) Ready(context.Context) error { return nil }
func (r *revocable) revoke() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = errTokenInvalid
}

// lines is the output of a task that writes a line every ten seconds.
func lines(ctx context.Context, n int) io.ReadCloser {
	r, w := io.Pipe()
	go func() {
		for i := range n {
			if err := poll.Sleep(ctx, 10*time.Second); err != nil {
				w.CloseWithError(ctx.Err())
				return
			}
			_, _ = fmt.Fprintf(w, "line %d\n", i)
		}
		w.Close()
	}()
	return r
}

// Output that the server cuts off does not look whole, whatever the reason. What takes
// longer than other requests is not cut off.
func TestOutputThatIsCutOffDoesNotLookWhole(t *testing.T) {
	t.Parallel()
	const endless = 1 << 30
	for name, c := range map[string]struct {
		lines          int
		follow, revoke bool
		whole          bool
		takes          time.Duration
	}{
		"slow":             {lines: 60, whole: true, takes: 10 * time.Minute},
		"too slow":         {lines: endless, takes: outputLimit},
		"too slow, token":  {lines: endless, revoke: true, takes: 2 * time.Minute},
		"followed":         {lines: 6 * 60, follow: true, whole: true, takes: time.Hour},
		"followed forever": {lines: endless, follow: true, takes: followLimit},
		"followed, token":  {lines: endless, follow: true, revoke: true, takes: 2 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				users := &revocable{}
				client, end := slowly(&Handler{Users: users, Jobs: &scripted{logs: func(ctx context.Context, _ LogOptions) (io.ReadCloser, error) { return lines(ctx, c.lines), nil }}})
				defer end()
				if c.revoke {
					time.AfterFunc(2*time.Minute-time.Second, users.revoke)
				}
				start := time.Now()
				stream, err := client.logs(t.Context(), JobID{"alice", "train"}, LogOptions{Follow: c.follow})
				if err != nil {
					t.Fatal(err)
				}
				defer stream.Close()
				got, err := io.ReadAll(stream)
				if whole := err == nil; whole != c.whole || c.whole && strings.Count(string(got), "\n") != c.lines {
					t.Errorf("got %d lines, %v, want whole %t", strings.Count(string(got), "\n"), err, c.whole)
				}
				if took := time.Since(start); took < c.takes-tokenCheckEvery || took > c.takes+tokenCheckEvery {
					t.Errorf("it took %s, want %s", took, c.takes)
				}
			})
		})
	}
}

// Who waits for a task to start learns why the server ends the request.
func TestWaitingForATaskEndsWithAReason(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		end  func(users *revocable, ended chan struct{})
		want error
		code pai.Code
	}{
		"token":  {func(u *revocable, _ chan struct{}) { u.revoke() }, nil, pai.CodeForbidden},
		"server": {func(_ *revocable, ended chan struct{}) { close(ended) }, errUnavailable, pai.CodeFailed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				users, ended := &revocable{}, make(chan struct{})
				client, end := slowly(&Handler{Users: users, Ended: ended, Jobs: &scripted{logs: func(ctx context.Context, _ LogOptions) (io.ReadCloser, error) {
					<-ctx.Done()
					return nil, apiError("read the job", ctx.Err())
				}}})
				defer end()
				time.AfterFunc(5*time.Second, func() { c.end(users, ended) })
				_, err := client.logs(t.Context(), JobID{"alice", "train"}, LogOptions{Follow: true})
				if err == nil || pai.CodeOf(err) != c.code || c.want != nil && !errors.Is(err, c.want) {
					t.Errorf("got %v, want code %s and %v", err, c.code, c.want)
				}
			})
		})
	}
}

// A request waits for a task to start for less time than clients and servers give it.
func TestRequestWaitsForATaskForSomeTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		core := NewCore(newMemory("default"), []string{"default"})
		ctx := WithCaller(t.Context(), Caller{Name: "alice", Admin: true})
		if _, err := core.Submit(ctx, Submission{Protocol: fmt.Appendf(nil, someJob, "train")}); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		_, err := core.Logs(ctx, JobID{"alice", "train"}, LogOptions{Follow: true})
		if took := time.Since(start); !errors.Is(err, errNotStarted) || statusOf(err) != http.StatusServiceUnavailable || took != startWait {
			t.Errorf("after %s: %v", took, err)
		}
	})
}

// A client follows a task that starts late, over servers that are replaced. Waiting is no
// failure of the server. A client that reaches no server reports it at once.
func TestFollowedTaskThatStartsLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		h := &Handler{Users: &revocable{}, MetricsPassword: "m", Jobs: &scripted{logs: func(ctx context.Context, _ LogOptions) (io.ReadCloser, error) {
			if asked++; asked == 5 {
				return nil, errEnding
			}
			if asked < 60 {
				return nil, errors.Join(poll.Sleep(ctx, startWait), errNotStarted.because("it is in the queue"))
			}
			return io.NopCloser(strings.NewReader("2026-01-01T00:00:00Z line\n")), nil
		}}}
		client, end := slowly(h)
		defer end()
		start := time.Now()
		stream, err := client.Logs(t.Context(), JobID{"alice", "train"}, LogOptions{Follow: true})
		if err != nil {
			t.Fatalf("after %s: %v", time.Since(start), err)
		}
		defer stream.Close()
		if got, err := io.ReadAll(stream); err != nil || string(got) != "line\n" {
			t.Errorf("got %q, %v", got, err)
		}
		resp, err := client.http.Get("http://x:m@pai/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if n := strings.Count(string(text), `_count{code="503"`); err != nil || n != 1 || !strings.Contains(string(text), `_count{code="503",method="GET",route="/api/v2/jobs/{id}/logs"} 1`) {
			t.Errorf("got %d series of failures, %v, want one failure: that of the server that was replaced:\n%s", n, err, text)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		refusing := &Client{access: Access{URLs: []string{"http://pai"}}, http: &http.Client{Transport: &http.Transport{
			DialContext: func(context.Context, string, string) (net.Conn, error) {
				return nil, errors.New("connection refused")
			}}}}
		start := time.Now()
		if _, err := refusing.Logs(t.Context(), JobID{"alice", "train"}, LogOptions{Follow: true}); !errors.Is(err, errUnreachable) || time.Since(start) > time.Second {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
	})
}

// A request of someone without a token ends, and its body must arrive soon.
func TestRequestsWithoutATokenEnd(t *testing.T) {
	t.Parallel()
	for kind, limit := range map[identity.Kind]time.Duration{identity.Link: outputLimit, identity.Server: requestTimeout} {
		synctest.Test(t, func(t *testing.T) {
			h := &Handler{Log: slog.New(slog.DiscardHandler)}
			start, ended := time.Now(), false
			h.serve(endpoint{verb: identity.Read, kind: kind, call: func(_ http.ResponseWriter, req *http.Request) (any, error) {
				return nil, poll.Sleep(req.Context(), time.Hour)
			}}, func(_ http.ResponseWriter, _ *http.Request, err error) {
				ended = true
				if took := time.Since(start); took != limit || statusOf(err) != http.StatusServiceUnavailable {
					t.Errorf("%s: after %s: %v", kind, took, err)
				}
			}).ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
			if !ended {
				t.Errorf("%s: the request ended by itself, after %s", kind, time.Since(start))
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		client, end := slowly(&Handler{Users: &revocable{}, Jobs: &scripted{}})
		defer end()
		body, in := io.Pipe()
		defer in.Close()
		start := time.Now()
		resp, err := client.http.Post("http://pai/rest-server/api/v2/authn/basic/login", "application/json", body)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if took := time.Since(start); resp.StatusCode != http.StatusBadRequest || took != strangerBody {
			t.Errorf("a login whose body never arrives: after %s, %s", took, resp.Status)
		}
	})
}
