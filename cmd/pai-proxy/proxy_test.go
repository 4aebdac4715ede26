package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

const apiName = "api.pai.internal"

// authority signs certificates for one test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

func (a *authority) issue(t *testing.T, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// apiServer is a real TLS server that says its name, with a /readyz.
type apiServer struct {
	*httptest.Server
	ready atomic.Bool
}

func startAPIServer(t *testing.T, a *authority, certName, says string) *apiServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &apiServer{}
	s.ready.Store(true)
	serveAPI(t, a, s, l, certName, says)
	return s
}

func serveAPI(t *testing.T, a *authority, s *apiServer, l net.Listener, certName, says string) {
	t.Helper()
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/readyz" && !s.ready.Load() {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		fmt.Fprint(w, says)
	}))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{a.issue(t, certName)}}
	s.Config.ErrorLog = nil
	s.Listener.Close()
	s.Listener = l
	s.StartTLS()
	t.Cleanup(s.Close)
}

func (s *apiServer) address() string { return s.Listener.Addr().String() }

func testTimings() timings {
	return timings{
		interval: 20 * time.Millisecond, downInterval: 10 * time.Millisecond, checkTimeout: time.Second,
		rise: 2, fall: 3, wait: 2 * time.Second, grace: 200 * time.Millisecond, dial: time.Second,
	}
}

type fixture struct {
	*testing.T
	authority *authority
	proxy     *proxy
	address   string
}

func start(t *testing.T) *fixture {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{T: t, proxy: newProxy(testTimings()), address: l.Addr().String()}
	l.Close()
	t.Cleanup(f.proxy.close)
	return f
}

func (f *fixture) use(backends ...backendConfig) {
	roots := x509.NewCertPool()
	roots.AddCert(f.authority.cert)
	f.proxy.apply(config{Listen: []string{f.address}, ServerName: apiName, Backends: backends, roots: roots})
}

func (f *fixture) client(keep bool) *http.Client {
	roots := x509.NewCertPool()
	roots.AddCert(f.authority.cert)
	return &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: !keep, TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: apiName},
	}}
}

func (f *fixture) ask(c *http.Client) (string, error) {
	resp, err := c.Get("https://" + f.address + "/")
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

// eventually waits until new connections are answered by a server.
func (f *fixture) eventually(want string) {
	f.Helper()
	deadline := time.Now().Add(5 * time.Second)
	var got string
	var err error
	for time.Now().Before(deadline) {
		if got, err = f.ask(f.client(false)); err == nil && got == want {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	f.Fatalf("new connections are answered by %q (%v), not by %q", got, err, want)
}

// outOfUse waits until the proxy hands its only server no new connections.
func (f *fixture) outOfUse() {
	f.Helper()
	for deadline := time.Now().Add(5 * time.Second); f.proxy.backends[0].usable(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			f.Fatal("a server that refuses connections stays in use")
		}
	}
}

func TestTakeOverWithoutAFailedRequest(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.authority = newAuthority(t)
	old := startAPIServer(t, f.authority, apiName, "old")
	next := startAPIServer(t, f.authority, apiName, "new")
	next.ready.Store(false)
	f.use(backendConfig{Address: old.address()}, backendConfig{Address: next.address()})
	f.eventually("old")

	var asked, failed atomic.Int64
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
			}
			asked.Add(1)
			if _, err := f.ask(f.client(false)); err != nil {
				failed.Add(1)
				t.Error(err)
			}
		}
	}()
	next.ready.Store(true)
	time.Sleep(200 * time.Millisecond)
	f.use(backendConfig{Address: old.address(), Draining: true}, backendConfig{Address: next.address()})
	f.eventually("new")
	time.Sleep(100 * time.Millisecond)
	old.Close()
	time.Sleep(200 * time.Millisecond)
	close(stop)
	<-stopped
	if asked.Load() < 3 || failed.Load() > 0 {
		t.Errorf("%d of %d requests failed", failed.Load(), asked.Load())
	}
}

func TestNotReadyGetsNoConnections(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.authority = newAuthority(t)
	a := startAPIServer(t, f.authority, apiName, "a")
	b := startAPIServer(t, f.authority, apiName, "b")
	b.ready.Store(false)
	f.use(backendConfig{Address: a.address()}, backendConfig{Address: b.address()})
	f.eventually("a")
	for range 20 {
		if got, err := f.ask(f.client(false)); got != "a" || err != nil {
			t.Fatalf("answered by %q: %v", got, err)
		}
	}
	a.ready.Store(false)
	b.ready.Store(true)
	f.eventually("b")
}

func TestOneFailedCheckIsForgiven(t *testing.T) {
	t.Parallel()
	changes := 0
	b := &backend{timings: timings{rise: 2, fall: 3}, conns: map[net.Conn]bool{}, changed: func() { changes++ }}
	failed, gone := errors.New("no answer in time"), &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	for i, step := range []struct {
		check error
		ready bool
	}{
		{nil, true}, // the first decides alone
		{failed, true}, {failed, true}, {nil, true},
		{failed, true}, {failed, true}, {failed, false},
		{nil, false}, {failed, false}, {nil, false}, {nil, true},
		{gone, false}, {gone, false}, {nil, false}, {nil, true}, // nobody listens: it does not run
	} {
		b.record(step.check)
		if b.usable() != step.ready {
			t.Errorf("after check %d (%v): ready %v, want %v", i, step.check, b.usable(), step.ready)
		}
	}
}

// A server that was killed and comes back between two checks forbids what is
// allowed until it is ready: it gets no connection before.
func TestStartedAgainIsNotTakenForReady(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.authority = newAuthority(t)
	f.proxy.timings.interval = 700 * time.Millisecond // the connection is faster than the check
	a := startAPIServer(t, f.authority, apiName, "a")
	f.use(backendConfig{Address: a.address()})
	f.eventually("a")
	address := a.address()
	a.Close()
	answered := make(chan string, 1)
	go func() {
		got, err := f.ask(f.client(false)) // this one finds nobody there
		answered <- fmt.Sprint(got, err)
	}()
	f.outOfUse()
	again := &apiServer{}
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	serveAPI(t, f.authority, again, l, apiName, "again")
	select {
	case got := <-answered:
		t.Fatalf("answered %q by a server that is not ready", got)
	case <-time.After(600 * time.Millisecond):
	}
	again.ready.Store(true)
	if got := <-answered; got != "again<nil>" {
		t.Errorf("answered %q", got)
	}
}

// A server that was asked to stop refuses new connections and answers on those
// that it has.
func TestStoppingServerAnswersWhatItWasAsked(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.authority = newAuthority(t)
	asked, answer := make(chan bool), make(chan bool)
	old := startAPIServer(t, f.authority, apiName, "old")
	serve := old.Config.Handler
	old.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			asked <- true
			<-answer
		}
		serve.ServeHTTP(w, r)
	})
	f.use(backendConfig{Address: old.address()})
	f.eventually("old")
	got := make(chan string, 1)
	go func() {
		resp, err := f.client(true).Post("https://"+f.address+"/", "text/plain", nil)
		if err != nil {
			got <- err.Error()
			return
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		got <- fmt.Sprint(string(body), err)
	}()
	<-asked
	old.Listener.Close() // as a server does first that was asked to stop
	f.outOfUse()
	for range f.proxy.timings.fall { // and its checks go on failing
		f.proxy.backends[0].record(&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED})
	}
	close(answer)
	if text := <-got; text != "old<nil>" {
		t.Errorf("what was asked before is answered with %q", text)
	}
}

func TestConnectionsWaitForAServer(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.authority = newAuthority(t)
	a := startAPIServer(t, f.authority, apiName, "a")
	a.ready.Store(false)
	f.use(backendConfig{Address: a.address()})
	time.Sleep(50 * time.Millisecond)
	time.AfterFunc(300*time.Millisecond, func() { a.ready.Store(true) })
	begin := time.Now()
	if got, err := f.ask(f.client(false)); got != "a" || err != nil {
		t.Fatalf("answered by %q: %v", got, err)
	}
	if waited := time.Since(begin); waited < 250*time.Millisecond {
		t.Errorf("it was answered after %s by a server that was not ready", waited)
	}
}

func TestConnectionIsClosedWhenNoServerComes(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.authority = newAuthority(t)
	f.proxy.timings.wait = 100 * time.Millisecond
	f.use(backendConfig{Address: "127.0.0.1:1"})
	var c net.Conn
	var err error
	for range 100 {
		if c, err = net.Dial("tcp", f.address); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetReadDeadline(time.Now().Add(2 * time.Second))
	if _, err := bufio.NewReader(c).ReadByte(); err != io.EOF {
		t.Errorf("read ended with %v, want EOF", err)
	}
}

func TestServerOfAnotherAuthorityOrNameIsNotUsed(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.authority = newAuthority(t)
	foreign := startAPIServer(t, newAuthority(t), apiName, "foreign")
	misnamed := startAPIServer(t, f.authority, "other.internal", "misnamed")
	own := startAPIServer(t, f.authority, apiName, "own")
	f.use(backendConfig{Address: foreign.address()}, backendConfig{Address: misnamed.address()}, backendConfig{Address: own.address()})
	f.eventually("own")
	for _, b := range f.proxy.backends {
		if b.usable() != (b.address == own.address()) {
			t.Errorf("%s: usable %v", b.address, b.usable())
		}
	}
}

func TestDrainingKeepsOpenConnectionsForAWhile(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.authority = newAuthority(t)
	const grace = 3 * time.Second
	f.proxy.timings.grace = grace
	old := startAPIServer(t, f.authority, apiName, "old")
	next := startAPIServer(t, f.authority, apiName, "new")
	f.use(backendConfig{Address: old.address()})
	f.eventually("old")
	kept := f.client(true)
	if got, err := f.ask(kept); got != "old" || err != nil {
		t.Fatalf("answered by %q: %v", got, err)
	}
	f.use(backendConfig{Address: old.address(), Draining: true}, backendConfig{Address: next.address()})
	f.eventually("new")
	if got, _ := f.ask(kept); got != "old" {
		t.Errorf("the kept connection moved to %q at once", got)
	}
	time.Sleep(grace)
	if got, err := f.ask(kept); got != "new" || err != nil {
		t.Errorf("after the grace period the kept client is answered by %q: %v", got, err)
	}
}

func TestDownClosesSessions(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.authority = newAuthority(t)
	a := startAPIServer(t, f.authority, apiName, "a")
	f.use(backendConfig{Address: a.address()})
	f.eventually("a")
	c, err := net.Dial("tcp", f.address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	time.Sleep(50 * time.Millisecond) // until it is handed on
	a.ready.Store(false)
	c.SetReadDeadline(time.Now().Add(3 * time.Second))
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the session to a server that is down stayed open: %v", err)
	}
}

func TestConfigIsReloaded(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.authority = newAuthority(t)
	a := startAPIServer(t, f.authority, apiName, "a")
	b := startAPIServer(t, f.authority, apiName, "b")
	dir := t.TempDir()
	file, ca := filepath.Join(dir, "api-proxy.json"), filepath.Join(dir, "ca.crt")
	write := func(path string, data []byte) {
		t.Helper()
		if err := os.WriteFile(path+".new", data, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	configure := func(address string) {
		t.Helper()
		data, err := json.Marshal(config{Listen: []string{f.address}, CA: ca, ServerName: apiName, Backends: []backendConfig{{Address: address}}})
		if err != nil {
			t.Fatal(err)
		}
		write(file, data)
	}
	hangup := make(chan os.Signal, 1)
	go watchConfig(t.Context(), file, hangup, f.proxy.apply) // neither file is there yet
	configure(a.address())
	write(ca, f.authority.pem)
	f.eventually("a")
	write(file, []byte("{"))
	hangup <- os.Interrupt
	f.eventually("a") // the last good one stays in force
	configure(b.address())
	f.eventually("b")
}
