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

// door is a real TLS server whose behaviour changes while it serves.
type door struct {
	*httptest.Server
	mode  atomic.Value // how it answers, a string
	conns atomic.Int64 // new connections
}

func newDoor(t *testing.T) *door {
	t.Helper()
	d := &door{}
	d.mode.Store("ok")
	d.Server = httptest.NewUnstartedServer(http.HandlerFunc(d.serve))
	d.Config.ConnState = d.countConn
	d.EnableHTTP2 = true
	d.StartTLS()
	t.Cleanup(d.Close)
	return d
}

func (d *door) serve(w http.ResponseWriter, r *http.Request) {
	switch d.mode.Load() {
	case "500":
		w.WriteHeader(http.StatusInternalServerError)
	case "half 500": // ready, but etcd does not answer
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

func (d *door) restConfig() *rest.Config {
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: d.Certificate().Raw})
	return &rest.Config{Host: d.URL, TLSClientConfig: rest.TLSClientConfig{CAData: ca, ServerName: "example.com"}}
}

// sampleDuring runs the samplers while the door behaves so for a while.
func sampleDuring(t *testing.T, d *door, mode string, length time.Duration) Counted {
	t.Helper()
	p, err := newPulse(d.restConfig(), &darkness{})
	if err != nil {
		t.Fatal(err)
	}
	if mode != "hang" { // on a busy machine a good answer may take long, too
		p.fresh.timeout, p.kept.timeout = submitTimeout, submitTimeout
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer func() { done <- struct{}{} }()
		p.run(ctx, &timeline{}, func() string { return "" })
	}()
	time.Sleep(500 * time.Millisecond)
	d.mode.Store(mode)
	time.Sleep(length)
	d.mode.Store("ok")
	time.Sleep(1500 * time.Millisecond)
	cancel()
	<-done
	p.close()
	return p.counted(time.Now())
}

func TestSamplersMeasureOutages(t *testing.T) {
	t.Parallel()
	const length = 1200 * time.Millisecond
	for _, mode := range []string{"500", "half 500", "hang", "reset"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			c := sampleDuring(t, newDoor(t), mode, length)
			// A gap begins with the last success and ends with the next, so it
			// is a little longer than the outage; a busy machine adds to it.
			for what, a := range map[string]float64{"new, outage": c.New.OutageSeconds, "new, longest": c.New.LongestGapSeconds,
				"kept, outage": c.Kept.OutageSeconds, "kept, longest": c.Kept.LongestGapSeconds} {
				if a < length.Seconds()-0.2 || a > length.Seconds()+5 {
					t.Errorf("%s: %.2f s, want about %.2f s", what, a, length.Seconds())
				}
			}
		})
	}
}

func TestSamplersSeeNoOutageWhereThereIsNone(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	c := sampleDuring(t, d, "ok", time.Second)
	if c != (Counted{}) {
		t.Errorf("counted %+v, want nothing", c)
	}
	// 3 s of samples every 100 ms with two questions each on new connections,
	// and a few kept ones: a busy machine may make fewer.
	if n := d.conns.Load(); n < 20 {
		t.Errorf("%d connections were made; every new sample needs its own", n)
	}
}

func TestKeptConnectionsAreKept(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	client, err := newProbeClient(d.restConfig(), true)
	if err != nil {
		t.Fatal(err)
	}
	defer client.close()
	for range 20 {
		if err := client.get(readyPath)(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := d.conns.Load(); n != 1 {
		t.Errorf("%d connections were made for 20 questions, want 1", n)
	}
}

func TestSubmissionIsCounted(t *testing.T) {
	t.Parallel()
	c := sampleDuring(t, newDoor(t), "no namespace", 2500*time.Millisecond)
	if c.Submission.OutageSeconds <= 0.5 {
		t.Errorf("%.1f s without submission, want some", c.Submission.OutageSeconds)
	}
}

// What a cluster without JobSets cannot be asked is no outage. Asked one
// question at a time: the door must not change between the two requests of one.
func TestWhatCountsAsNoSubmission(t *testing.T) {
	t.Parallel()
	for mode, want := range map[string]bool{"ok": false, "500": true, "no namespace": true, "no JobSets": false} {
		d := newDoor(t)
		d.mode.Store(mode)
		client, err := newProbeClient(d.restConfig(), false)
		if err != nil {
			t.Fatal(err)
		}
		defer client.close()
		if err := (submission{client: client, namespace: "jobs"}).ask(t.Context()); (err != nil) != want {
			t.Errorf("%s: asking gives %v; want an error: %v", mode, err, want)
		}
	}
}

func TestSlowAnswersDoNotSlowTheSampler(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	s := &sampler{timeout: time.Second, questions: []func(context.Context) error{func(ctx context.Context) error {
		asked.Add(1)
		<-ctx.Done()
		return ctx.Err()
	}}}
	for ms := range 10 {
		s.tick(t.Context(), at(ms*100))
	}
	deadline := time.Now().Add(900 * time.Millisecond)
	for asked.Load() < 10 && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	if n := asked.Load(); n != 10 {
		t.Errorf("%d samples were started while the first was under way, want 10", n)
	}
	s.wait()
	if since, err := s.awaySince(); !since.Equal(at(0)) || err == nil {
		t.Errorf("away since %v (%v), want the first sample's start", since, err)
	}
}

func (d *door) countConn(_ net.Conn, state http.ConnState) {
	if state == http.StateNew {
		d.conns.Add(1)
	}
}
