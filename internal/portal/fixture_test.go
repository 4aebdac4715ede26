package portal

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"

	"pai.dev/pai/internal/history"
	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/rest"
	"pai.dev/pai/internal/tlsserver"
)

// The portal of a test serves over TLS, and asks a real REST server over TLS, whose users
// are in memory and whose jobs are scripted.

// jobs is a JobAPI that records who asked for what.
type jobs struct {
	mu    sync.Mutex
	calls []string
	logs  func(ctx context.Context) (io.ReadCloser, error)
}

func (j *jobs) called(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.calls = append(j.calls, fmt.Sprintf(format, args...))
}

func (j *jobs) seen() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]string{}, j.calls...)
}

func (j *jobs) Submit(_ context.Context, s rest.Submission) (rest.Submitted, error) {
	j.called("submit %d", len(s.Protocol))
	return rest.Submitted{ID: "ada~train"}, nil
}

func (j *jobs) Preview(context.Context, rest.Submission) (rest.Previewed, error) {
	j.called("preview")
	return rest.Previewed{ID: "ada~train"}, nil
}

func (j *jobs) List(context.Context, rest.Filter) ([]job.Status, error) {
	j.called("list")
	return []job.Status{}, nil
}

func (j *jobs) Get(_ context.Context, id rest.JobID) (job.Status, error) {
	j.called("get %s", id)
	return job.Status{JobRef: pai.JobRef{User: id.User, Name: id.Name}, Message: "<script>alert(1)</script>"}, nil
}

func (j *jobs) Protocol(_ context.Context, id rest.JobID) ([]byte, error) {
	j.called("protocol %s", id)
	return []byte("name: train\n"), nil
}

func (j *jobs) Operations(context.Context, rest.JobID) ([]rest.JobOperation, error) {
	return []rest.JobOperation{}, nil
}

func (j *jobs) Stop(_ context.Context, id rest.JobID) error {
	j.called("stop %s", id)
	return nil
}

func (j *jobs) Logs(ctx context.Context, id rest.JobID, _ rest.LogOptions) (io.ReadCloser, error) {
	j.called("logs %s", id)
	return j.logs(ctx)
}

// pages is a ClusterAPI with the list of jobs. Nothing else of it is called.
type pages struct {
	rest.ClusterAPI
	jobs *jobs
}

func (p pages) Page(context.Context, history.Query) (rest.JobPage, error) {
	p.jobs.called("list")
	return rest.JobPage{Incomplete: "jobs are missing"}, nil
}

// store keeps the users of the REST server in memory. Nothing else of it is called.
type store struct {
	rest.Cluster
	clientset kubernetes.Interface
}

func (s store) Clientset() kubernetes.Interface                        { return s.clientset }
func (store) EnsureNamespace(context.Context, string) error            { return nil }
func (store) Create(context.Context, *unstructured.Unstructured) error { return nil }

func (s store) PatchUnchanged(ctx context.Context, r kube.Ref, patch []byte) error {
	_, err := s.clientset.CoreV1().Secrets(r.Namespace).Patch(ctx, r.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	return err
}

const password = "correct horse battery"

// world is a portal with its REST server.
type world struct {
	t        *testing.T
	jobs     *jobs
	accounts rest.Accounts
	address  string // of the portal
	host     string
	authorities
	stopPortal, stopREST func()
}

type authorities struct{ pool *x509.CertPool }

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, jobs: &jobs{}}
	s := store{clientset: fake.NewClientset(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: pai.SystemNamespace, Name: pai.UsersSecret, ResourceVersion: "1"}})}
	users := rest.NewUsers(s, rest.UsersByEntry, func(err error) { t.Error(err) })
	w.accounts = users.Accounts(s)
	for _, name := range []string{"ada", "bob"} {
		text := password
		if _, err := w.accounts.Create(t.Context(), name, rest.UserChange{Password: &text}); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	w.pool = certificates(t, dir)
	log := slog.New(slog.DiscardHandler)
	restServer := &rest.Server{CertDir: dir, Log: log, Handler: &rest.Handler{
		Jobs: w.jobs, Cluster: pages{jobs: w.jobs}, Users: users, Release: "v0.11", Log: log, Logins: rest.NewLogins(w.accounts)}}
	restAddress, stopREST := serve(t, func(ctx context.Context, l net.Listener) error { return restServer.Run(ctx, l) })
	w.stopREST = stopREST

	key := make([]byte, KeySize)
	_, _ = rand.Read(key)
	write(t, filepath.Join(dir, "key"), key)
	srv := tlsserver.New(dir, 0, log)
	h := &Handler{
		REST: &url.URL{Scheme: "https", Host: restAddress}, Transport: NewTransport(filepath.Join(dir, "ca.crt")), Keys: &Keys{File: filepath.Join(dir, "key")},
		Dist: built(), Log: log, Draining: srv.Draining, Ended: srv.Ended(),
	}
	routes, err := h.Routes()
	if err != nil {
		t.Fatal(err)
	}
	w.host, w.stopPortal = serve(t, func(ctx context.Context, l net.Listener) error { return srv.Run(ctx, l, routes) })
	w.address = "https://" + w.host
	return w
}

// built is a built page.
func built() fstest.MapFS {
	return fstest.MapFS{
		"index.html":             {Data: []byte(`<!doctype html><meta name="csp-nonce" content="__CSP_NONCE__"><script src="/assets/app-1a2b.js"></script>`)},
		"assets/app-1a2b.js":     {Data: []byte("run()")},
		"assets/sans-3c4d.woff2": {Data: []byte("font")},
		"favicon.svg":            {Data: []byte("<svg/>")},
	}
}

// serve runs a server on loopback until it is stopped.
func serve(t *testing.T, run func(context.Context, net.Listener) error) (address string, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, l) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the server ended with: %v", err)
		}
	})
	t.Cleanup(stop)
	return l.Addr().String(), stop
}

// certificates makes a CA and one certificate for both servers.
func certificates(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	write(t, filepath.Join(dir, "tls.crt"), cert)
	write(t, filepath.Join(dir, "ca.crt"), cert)
	write(t, filepath.Join(dir, "tls.key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(cert)
	return pool
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// browser sends requests as a page of the portal does. Its cookies are those of the test.
type browser struct {
	*world
	client *http.Client
	cookie string
}

func (w *world) browser() *browser {
	return &browser{world: w, client: &http.Client{
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: w.pool}, ForceAttemptHTTP2: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// answer is what a request got.
type answer struct {
	status int
	header http.Header
	body   string
	cookie *http.Cookie // that the answer sets
}

// do sends a request of the page; change can make it another one.
func (b *browser) do(method, path, body string, change func(*http.Request)) answer {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), method, b.address+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	if !isSafe(method) {
		req.Header.Set("Origin", b.address)
		req.Header.Set(requestHeader, "1")
		req.Header.Set("Content-Type", "application/json")
	}
	if b.cookie != "" {
		req.AddCookie(&http.Cookie{Name: cookieName, Value: b.cookie})
	}
	if change != nil {
		change(req)
	}
	resp, err := b.client.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	a := answer{status: resp.StatusCode, header: resp.Header, body: string(data)}
	for _, c := range resp.Cookies() {
		if c.Name == cookieName {
			a.cookie = c
		}
	}
	return a
}

// signIn starts a session with a password and keeps its cookie.
func (b *browser) signIn(user string) *http.Cookie {
	b.t.Helper()
	a := b.do(http.MethodPost, "/api/session", fmt.Sprintf(`{"username":%q,"password":%q}`, user, password), nil)
	if a.status != http.StatusNoContent || a.cookie == nil {
		b.t.Fatalf("sign in as %s: got %d, %s", user, a.status, a.body)
	}
	b.cookie = a.cookie.Value
	return a.cookie
}

// roundTrip is a REST server that answers as a function does.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func mustParse(t *testing.T, address string) *url.URL {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
