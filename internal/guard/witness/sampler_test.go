package witness

import (
	"context"
	"encoding/pem"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/rest"
)

// testServer is a TLS server with a mode that can change.
type testServer struct {
	*httptest.Server
	mode  atomic.Value // a string
	conns atomic.Int64 // new connections
}

func newTestServer(t *testing.T) *testServer {
	t.Helper()
	server := &testServer{}
	server.mode.Store("ok")
	server.Server = httptest.NewUnstartedServer(http.HandlerFunc(server.serve))
	server.Config.ConnState = server.countConn
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	return server
}

func (server *testServer) serve(w http.ResponseWriter, r *http.Request) {
	switch server.mode.Load() {
	case "ok":
		if r.URL.Path == leasesPath {
			_, _ = w.Write([]byte(`{"items": []}`))
		}
	case "500":
		w.WriteHeader(http.StatusInternalServerError)
	case "reads 500": // ready, but etcd is not responding
		if r.URL.Path != readyPath {
			w.WriteHeader(http.StatusInternalServerError)
		}
	case "hang":
		select {
		case <-r.Context().Done():
		case <-time.After(3 * time.Second):
		}
	case "reset":
		panic(http.ErrAbortHandler)
	case "no JobSets":
		w.WriteHeader(http.StatusNotFound)
	case "no namespace":
		if r.Method == http.MethodPost {
			w.WriteHeader(http.StatusNotFound)
		}
	}
}

func (server *testServer) restConfig() *rest.Config {
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	return &rest.Config{Host: server.URL, TLSClientConfig: rest.TLSClientConfig{CAData: ca, ServerName: "example.com"}}
}

// sampleDuring samples while the server is in a mode for some time.
func sampleDuring(t *testing.T, server *testServer, mode string, length time.Duration) Counted {
	t.Helper()
	p, err := newProbeLoop(server.restConfig(), &unobservedTime{})
	if err != nil {
		t.Fatal(err)
	}
	if mode != "hang" { // on a busy machine, a response can be slow
		p.fresh.timeout, p.kept.timeout = submitTimeout, submitTimeout
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer func() { done <- struct{}{} }()
		p.run(ctx, &timeline{}, func() []Step { return nil })
	}()
	time.Sleep(500 * time.Millisecond)
	server.mode.Store(mode)
	time.Sleep(length)
	server.mode.Store("ok")
	time.Sleep(1500 * time.Millisecond)
	cancel()
	<-done
	p.close()
	return p.counted(time.Now())
}

func TestSamplersMeasureOutages(t *testing.T) {
	t.Parallel()
	const length = 1200 * time.Millisecond
	for _, mode := range []string{"500", "reads 500", "hang", "reset"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			c := sampleDuring(t, newTestServer(t), mode, length)
			// A gap starts with the last success and ends with the next one, so it
			// is longer than the outage. A busy machine adds to it.
			for what, a := range map[string]float64{"new, outage": c.New.OutageSeconds, "new, longest": c.New.LongestGapSeconds,
				"kept, outage": c.Kept.OutageSeconds, "kept, longest": c.Kept.LongestGapSeconds} {
				if a < length.Seconds()-0.2 || a > length.Seconds()+5 {
					t.Errorf("%s: got %.2f s, want about %.2f s", what, a, length.Seconds())
				}
			}
		})
	}
}

func TestSamplersCountNoOutageWithoutFailures(t *testing.T) {
	t.Parallel()
	server := newTestServer(t)
	c := sampleDuring(t, server, "ok", time.Second)
	if c != (Counted{}) {
		t.Errorf("got %+v, want zero", c)
	}
	// 3 s of samples every 100 ms with two requests each on new connections, and a
	// few kept connections. A busy machine has fewer.
	if n := server.conns.Load(); n < 20 {
		t.Errorf("got %d connections, want at least 20", n)
	}
}

func TestKeptConnectionIsReused(t *testing.T) {
	t.Parallel()
	server := newTestServer(t)
	client, err := newProbeClient(server.restConfig(), true)
	if err != nil {
		t.Fatal(err)
	}
	defer client.http.CloseIdleConnections()
	for range 20 {
		if err := client.getRequest(readyPath)(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := server.conns.Load(); n != 1 {
		t.Errorf("got %d connections for 20 requests, want 1", n)
	}
}

func TestSubmissionOutageIsCounted(t *testing.T) {
	t.Parallel()
	c := sampleDuring(t, newTestServer(t), "no namespace", 2500*time.Millisecond)
	if c.Submission.OutageSeconds <= 0.5 {
		t.Errorf("got %.1f s without submission, want more", c.Submission.OutageSeconds)
	}
}

// A cluster without JobSets has no outage of submission. The mode of the server
// must not change between the two requests of one test.
func TestSubmissionFailsOnlyWithJobSets(t *testing.T) {
	t.Parallel()
	for mode, want := range map[string]bool{"ok": false, "500": true, "no namespace": true, "no JobSets": false} {
		server := newTestServer(t)
		server.mode.Store(mode)
		client, err := newProbeClient(server.restConfig(), false)
		if err != nil {
			t.Fatal(err)
		}
		defer client.http.CloseIdleConnections()
		if err := (submission{client: client, namespace: "jobs"}).test(t.Context()); (err != nil) != want {
			t.Errorf("%s: got %v, want an error: %v", mode, err, want)
		}
	}
}

func TestSlowResponsesDoNotDelaySamples(t *testing.T) {
	t.Parallel()
	var started atomic.Int64
	s := &sampler{timeout: time.Second, requests: []func(context.Context) error{func(ctx context.Context) error {
		started.Add(1)
		<-ctx.Done()
		return ctx.Err()
	}}}
	for ms := range 10 {
		s.tick(t.Context(), at(ms*100))
	}
	deadline := time.Now().Add(900 * time.Millisecond)
	for started.Load() < 10 && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	if n := started.Load(); n != 10 {
		t.Errorf("got %d samples while the first was in progress, want 10", n)
	}
	s.wait()
	if o := s.current(); !o.Since.Equal(at(0)) || o.Reason == "" {
		t.Errorf("got %+v, want an outage since the first sample", o)
	}
}

func (server *testServer) countConn(_ net.Conn, state http.ConnState) {
	if state == http.StateNew {
		server.conns.Add(1)
	}
}
