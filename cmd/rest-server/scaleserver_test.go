//go:build scale

package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"database/sql"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	clientrest "k8s.io/client-go/rest"

	"pai.dev/pai/internal/history"
)

// serverVariable makes this program the server. It has a serverSetup.
const serverVariable = "PAI_SCALE_SERVER"

type serverSetup struct{ Listen, Certs, History, API string }

// runServer is the REST server with the flags that the chart gives it.
func runServer() error {
	var setup serverSetup
	if err := json.Unmarshal([]byte(os.Getenv(serverVariable)), &setup); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	o := options{listen: setup.Listen, certDir: setup.Certs, virtualClusters: strings.Join(virtualClusters, ","), containment: "{}", release: "v0.11", users: "entries",
		endedJobsLimit: 1000, endedJobsDays: 30, jobList: "all", history: historyOptions{database: "sqlite", dir: setup.History, jobs: 200000, days: 3650}}
	return serveIn(ctx, &clientrest.Config{Host: setup.API}, o, slog.New(slog.NewTextHandler(os.Stderr, nil)))
}

// server is a REST server that runs.
type server struct {
	url    string
	client *http.Client
	pid    int
	asked  atomic.Int64
	// ready and complete are how long it took from the start until the server was ready, and
	// until a list was complete.
	ready, complete time.Duration
	// stop ends it.
	stop func()
}

// recordCluster lets a server record the jobs of the cluster, as one does that ran before.
func recordCluster(t *testing.T, api *fakeAPI, dir string) {
	t.Helper()
	if len(api.jobs) == 0 {
		return
	}
	s := startServer(t, api, dir)
	defer s.stop()
	db, err := sql.Open("sqlite", filepath.Join(dir, history.SQLiteFile))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for range 600 {
		var n int
		err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM jobs WHERE gone = 0").Scan(&n)
		if err == nil && n >= len(api.jobs) {
			return
		}
		time.Sleep(time.Second)
	}
	t.Fatal("the jobs of the cluster were not recorded within 10 minutes")
}

func printStart(s *server, size int) {
	fmt.Printf("FIGURE time %d %.1f ms from the start of the server until it is ready\n", size, milliseconds(s.ready))
	fmt.Printf("FIGURE time %d %.1f ms from the start of the server until a list is complete\n", size, milliseconds(s.complete))
}

// startServer starts a server. It ends with the test, at the latest.
func startServer(t *testing.T, api *fakeAPI, dir string) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	certs := t.TempDir()
	roots := makeCertificate(t, certs)
	setup, err := json.Marshal(serverSetup{address, certs, dir, api.url})
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), os.Args[0])
	cmd.Env = append(os.Environ(), serverVariable+"="+string(setup), "GOMEMLIMIT=400MiB") // the limit of the chart
	cmd.Stdout, cmd.Stderr = &log, &log
	began := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop := sync.OnceFunc(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // an error means that it ended before
		if err := cmd.Wait(); err != nil || t.Failed() {
			t.Errorf("the server ended: %v\n%s", err, log.String())
		}
	})
	t.Cleanup(stop)
	s := &server{stop: stop, url: "https://" + address, pid: cmd.Process.Pid, client: &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, MaxIdleConnsPerHost: 4}}}
	s.waitFor(t, "/readyz", func(r *http.Response) bool { return r.StatusCode == http.StatusOK })
	s.ready = time.Since(began)
	s.waitFor(t, "/rest-server/api/v2/jobs?limit=1", func(r *http.Response) bool {
		return r.StatusCode == http.StatusOK && r.Header.Get("Pai-Incomplete") == ""
	})
	s.complete = time.Since(began)
	return s
}

func (s *server) waitFor(t *testing.T, path string, done func(*http.Response) bool) {
	t.Helper()
	var last string
	for range 2000 {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+tokenOf(adminName(0)))
		resp, err := s.client.Do(req)
		if err == nil {
			last = resp.Status
			_ = resp.Body.Close()
			if done(resp) {
				return
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%s: %s", path, last)
}

// ask sends a request and returns how long its answer is. Each administrator in turn asks,
// because a caller has 20 requests per second.
func (s *server) ask(ctx context.Context, t *testing.T, token, path string) int {
	if token == "" {
		token = tokenOf(adminName(int(s.asked.Add(1)) % admins))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+path, nil)
	if err != nil {
		t.Error(err)
		return 0
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := s.client.Do(req)
	if err != nil {
		t.Error(err)
		return 0
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || resp.Header.Get("Pai-Incomplete") != "" && strings.HasPrefix(path, "/rest-server") {
		t.Errorf("%s: %d, incomplete %q, %.200s, %v", path, resp.StatusCode, resp.Header.Get("Pai-Incomplete"), data, err)
	}
	return len(data)
}

// memory is a line of the status of the server in MB: VmHWM is the most that it had.
func (s *server) memory(t *testing.T, line string) float64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.pid))
	if err != nil {
		t.Fatal(err)
	}
	kilobytes := 0
	_, after, _ := strings.Cut(string(text), line+":")
	if _, err := fmt.Sscan(after, &kilobytes); err != nil {
		t.Fatal(err)
	}
	return float64(kilobytes) * 1024 / 1e6
}

// worked is how long the threads of the server have had a processor.
func (s *server) worked(t *testing.T) (total time.Duration) {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", s.pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			continue // the thread has ended
		}
		var nanoseconds int64
		if _, err := fmt.Sscan(string(text), &nanoseconds); err != nil {
			t.Fatal(err)
		}
		total += time.Duration(nanoseconds)
	}
	return total
}

// makeCertificate writes the certificate of a server on the loopback address.
func makeCertificate(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "scale"}, NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	for name, block := range map[string]*pem.Block{"tls.crt": {Type: "CERTIFICATE", Bytes: cert}, "tls.key": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		roots.AppendCertsFromPEM(pem.EncodeToMemory(block))
	}
	return roots
}
