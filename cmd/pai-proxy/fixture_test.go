package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"pai.dev/pai/test/freeport"
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
	ready    atomic.Bool
	stopping atomic.Bool // it was asked to stop, and still serves
	hangs    atomic.Bool // it answers no check in time
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
		switch {
		case r.URL.Path != "/readyz":
		case s.hangs.Load():
			<-r.Context().Done()
			return
		case s.stopping.Load():
			http.Error(w, "[+]ping ok\n[-]shutdown failed: reason withheld\nreadyz check failed", http.StatusInternalServerError)
			return
		case !s.ready.Load():
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

// longTimeout is for what has to happen: a busy host can take long for it.
const longTimeout = time.Minute

// testTimings check often; a test that needs a limit to pass sets it.
func testTimings() timings {
	return timings{
		interval: 20 * time.Millisecond, downInterval: 10 * time.Millisecond, checkTimeout: longTimeout,
		remoteTimeout: longTimeout, nextDial: 20 * time.Millisecond,
		rise: 2, fall: 3, wait: longTimeout, grace: longTimeout, dial: longTimeout, hello: longTimeout,
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
	f := &fixture{T: t, proxy: newProxy(testTimings(), nil), address: fmt.Sprintf("127.0.0.1:%d", freeport.Get(t))}
	t.Cleanup(f.proxy.close)
	return f
}

func (f *fixture) use(backends ...backendConfig) {
	f.apply([]string{f.address}, backends...)
}

func (f *fixture) apply(listen []string, backends ...backendConfig) {
	roots := x509.NewCertPool()
	roots.AddCert(f.authority.cert)
	f.proxy.apply(config{Listen: listen, ServerName: apiName, Backends: backends, roots: roots})
}

func (f *fixture) client(keep bool) *http.Client {
	roots := x509.NewCertPool()
	roots.AddCert(f.authority.cert)
	return &http.Client{Timeout: longTimeout, Transport: &http.Transport{
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
	deadline := time.Now().Add(longTimeout)
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
	f.until("a server that refuses connections is out of use", func() bool { return !f.proxy.backends[0].usable() })
}

// until waits for a condition.
func (f *fixture) until(what string, condition func() bool) {
	f.Helper()
	for deadline := time.Now().Add(longTimeout); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			f.Fatalf("within %s, it is not true that %s", longTimeout, what)
		}
	}
}

// listens waits until the proxy accepts connections.
func (f *fixture) listens() {
	f.Helper()
	f.until("the proxy listens", func() bool {
		c, err := net.Dial("tcp", f.address)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

// handedOn is the number of open connections that the only server has.
func (f *fixture) handedOn() int {
	b := f.proxy.backends[0]
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.conns)
}
