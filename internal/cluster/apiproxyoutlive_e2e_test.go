//go:build e2e

package cluster

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/nspawn"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/poll"
	"pai.dev/pai/test/localmachines"
	"pai.dev/pai/test/netns"
)

// olderCommit is v0.10, whose proxy takes no listeners and does not keep the addresses released.
const olderCommit = "c82e023"

// TestReplacedProxyServesItsConnections replaces the proxy on a real machine, in the order of an
// upgrade, of a release that was built again, and of a rollback. An answer in progress is
// not cut off, no new connection is refused, and of the proxy that was replaced nothing is
// left once it has no client.
func TestReplacedProxyServesItsConnections(t *testing.T) {
	p := newProxiedMachine(t)
	older, newer, again := pai.KubernetesVersion("v0.10-pai"), pai.KubernetesVersion("v0.11-pai"), pai.KubernetesVersion("v0.11-pai+bbbbbbbbbbbb")
	p.install(t, older, "v1.36.3", olderProxy(t))
	program := filepath.Join(t.TempDir(), "api-proxy")
	build(t, "../..", program, "./cmd/pai-proxy")
	p.install(t, newer, "v1.37.2", program)
	p.install(t, again, "v1.37.2", program)
	if err := moveAndRestart(t.Context(), p.host, plan.RoleAPIProxy, older); err != nil {
		t.Fatal(err)
	}
	p.asks(t)
	for _, v := range []pai.KubernetesVersion{newer, again, older, newer} {
		t.Run(string(v), func(t *testing.T) { p.replaced(t, v) })
	}
}

// proxiedMachine is a machine with the proxy as its only role, and a server that answers
// slowly in its network namespace.
type proxiedMachine struct {
	cluster   *cluster
	machine   config.Machine
	host      machine.Host
	namespace string
	tls       *tls.Config
	finish    atomic.Pointer[chan struct{}] // ends the slow answers when closed
}

// replaced has the proxy replaced under a slow answer and new connections.
func (p *proxiedMachine) replaced(t *testing.T, v pai.KubernetesVersion) {
	finish := make(chan struct{})
	p.finish.Store(&finish)
	before := p.on(t, "systemctl show --property=MainPID --value "+layout.Unit(plan.RoleAPIProxy))
	began, body := make(chan struct{}), make(chan string, 1)
	go func() { body <- p.slow(began) }()
	select {
	case <-began:
	case got := <-body:
		t.Fatalf("the slow answer ended: %s", got)
	}
	stop, asked := make(chan struct{}), make(chan int, 1)
	go func() { asked <- p.poll(t, stop) }()

	start := time.Now()
	if err := p.cluster.replaceAPIProxy(t.Context(), p.host, p.machine, v); err != nil {
		t.Fatal(err)
	}
	t.Logf("replaced within %s", time.Since(start).Round(time.Millisecond))
	if state, err := roleState(t.Context(), p.host, plan.RoleAPIProxy); err != nil || state.Running != v {
		t.Errorf("the next proxy runs as %+v: %v", state, err)
	}
	p.on(t, "[ -d /proc/"+before+" ]") // it serves the answer
	time.Sleep(time.Second)            // a process that systemd still ends would be dead by then
	select {
	case got := <-body:
		t.Errorf("the answer was cut off: %s", got)
	default:
		close(finish)
		if got := <-body; got != "first, last" {
			t.Errorf("the answer was cut off: %s", got)
		}
	}
	close(stop)
	if n := <-asked; n < 10 {
		t.Errorf("%d requests were sent", n)
	}
	wait := poll.Wait{For: "the end of the proxy that was replaced", Timeout: 20 * time.Second, Every: 200 * time.Millisecond}
	if err := wait.Until(t.Context(), func(context.Context) (bool, error) {
		left := p.on(t, fmt.Sprintf(`grep -ls '/%s$' /proc/[0-9]*/cgroup | wc -l; ls %s 2>/dev/null || true; ls %s 2>/dev/null || true; grep api-proxy /proc/mounts || true`,
			layout.Unit(plan.RoleAPIProxy), outliveDir, releasedFile))
		if left != "1" {
			return false, fmt.Errorf("left are: %s", left)
		}
		return true, nil
	}); err != nil {
		t.Fatal(err)
	}
}

// slow reads an answer that ends when p.finish is closed.
func (p *proxiedMachine) slow(began chan<- struct{}) string {
	resp, err := p.client().Get("https://127.0.0.1:6443/slow")
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	first := make([]byte, len("first, "))
	if _, err := io.ReadFull(resp.Body, first); err != nil {
		return err.Error()
	}
	close(began)
	rest, err := io.ReadAll(resp.Body)
	if err != nil {
		return err.Error()
	}
	return string(first) + string(rest)
}

// poll asks with a new connection each time. None may fail.
func (p *proxiedMachine) poll(t *testing.T, stop <-chan struct{}) (asked int) {
	var slowest time.Duration
	defer func() {
		t.Logf("%d new connections, the slowest request took %s", asked, slowest.Round(time.Millisecond))
	}()
	for {
		select {
		case <-stop:
			return asked
		default:
		}
		asked++
		sent := time.Now()
		resp, err := p.client().Get("https://127.0.0.1:6443/")
		if err != nil {
			t.Errorf("request %d: %v", asked, err)
			return asked
		}
		_ = resp.Body.Close()
		slowest = max(slowest, time.Since(sent))
		time.Sleep(10 * time.Millisecond)
	}
}

// client opens a new connection for each request, in the namespace of the machine.
func (p *proxiedMachine) client() *http.Client {
	return &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: p.tls,
		DialContext: func(ctx context.Context, network, address string) (c net.Conn, err error) {
			err = netns.In(p.namespace, func() error {
				c, err = new(net.Dialer).DialContext(ctx, network, address)
				return err
			})
			return c, err
		},
	}}
}

func (p *proxiedMachine) asks(t *testing.T) {
	t.Helper()
	wait := poll.Wait{For: "the first answer of the proxy", Timeout: 30 * time.Second, Every: 100 * time.Millisecond}
	if err := wait.Until(t.Context(), func(context.Context) (bool, error) {
		resp, err := p.client().Get("https://127.0.0.1:6443/")
		if err == nil {
			_ = resp.Body.Close()
		}
		return err == nil, err
	}); err != nil {
		t.Fatalf("%v\n%s", err, p.on(t, "journalctl -q -n 20 -u "+layout.Unit(plan.RoleAPIProxy)))
	}
}

func (p *proxiedMachine) on(t *testing.T, script string) string {
	t.Helper()
	out, err := p.host.Run(t.Context(), machine.Command{Script: script})
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out.Stdout)
}

func newProxiedMachine(t *testing.T) *proxiedMachine {
	t.Helper()
	l := localmachines.New(t, t.Name())
	list, err := l.Up(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	host, err := machine.Dial(t.Context(), list[0].Endpoint())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { host.Close() })
	cfg := testConfig()
	p := &proxiedMachine{host: host, machine: cfg.Workers()[0], namespace: namespaceOf(t, l, list[0].Address)}
	cfg.Kubernetes.APIServersPort = 6443
	p.cluster = &cluster{Deps: Deps{Config: cfg, Hosts: map[string]machine.Host{p.machine.Hostname: host}}}
	p.serve(t)
	return p
}

// namespaceOf is the network namespace of the local machine with an address.
func namespaceOf(t *testing.T, l nspawn.Local, address string) string {
	t.Helper()
	mark, err := l.Mark()
	if err != nil {
		t.Fatal(err)
	}
	all, err := filepath.Glob("/run/netns/*" + mark + "*")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range all {
		out, err := exec.CommandContext(t.Context(), "ip", "-n", filepath.Base(path), "-o", "address").CombinedOutput()
		if err == nil && strings.Contains(string(out), " "+address+"/") {
			return path
		}
	}
	t.Fatalf("no network namespace of %q has the address %s", all, address)
	return ""
}

// serve starts the server, and writes the configuration of the proxy and its unit.
func (p *proxiedMachine) serve(t *testing.T) {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/slow" {
			return
		}
		_, _ = io.WriteString(w, "first, ")
		w.(http.Flusher).Flush()
		select {
		case <-*p.finish.Load():
			_, _ = io.WriteString(w, "last")
		case <-r.Context().Done():
		}
	}))
	_ = s.Listener.Close()
	if err := netns.In(p.namespace, func() (err error) {
		s.Listener, err = new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:7443")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	p.tls = s.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	p.tls.ServerName = "example.com" // which the certificate of httptest has
	data, err := json.Marshal(proxyConfig{Listen: []string{"127.0.0.1:6443"}, CA: layout.CAFile, ServerName: "example.com",
		Backends: []proxyBackend{{Address: s.Listener.Addr().String()}}})
	if err != nil {
		t.Fatal(err)
	}
	unit, err := unitOf(plan.RoleAPIProxy)
	if err != nil {
		t.Fatal(err)
	}
	p.write(t, layout.APIProxyFile, data, 0o644)
	p.write(t, layout.CAFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o644)
	p.write(t, layout.UnitFile(plan.RoleAPIProxy), []byte(unitFile(unit.hardened())), 0o644)
	p.on(t, "systemctl daemon-reload")
}

func (p *proxiedMachine) write(t *testing.T, path string, data []byte, mode os.FileMode) {
	t.Helper()
	if err := p.host.WriteFile(t.Context(), path, data, mode); err != nil {
		t.Fatal(err)
	}
}

// install writes a version that has the proxy only.
func (p *proxiedMachine) install(t *testing.T, v pai.KubernetesVersion, upstream, program string) {
	t.Helper()
	data, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	content, err := json.Marshal(installed{Kubernetes: v, Upstream: upstream})
	if err != nil {
		t.Fatal(err)
	}
	path := layout.VersionDir(v) + "/bin/api-proxy"
	p.write(t, path, data, 0o755)
	p.write(t, installedFile(v), content, 0o644)
	p.write(t, layout.RunScript(v, plan.RoleAPIProxy), []byte("#!/bin/sh\nexec "+path+" --config="+layout.APIProxyFile+"\n"), 0o755)
}

// olderProxy builds the proxy of v0.10 from its commit. It needs the standard library only.
func olderProxy(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	out, err := exec.CommandContext(t.Context(), "sh", "-euc", `git -C ../.. archive `+olderCommit+` cmd/pai-proxy | tar -x -C "$1"
rm "$1"/cmd/pai-proxy/*_test.go
printf 'module older\n\ngo 1.26\n' >"$1/go.mod"`, "sh", dir).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	program := filepath.Join(dir, "api-proxy")
	build(t, dir, program, "./cmd/pai-proxy")
	return program
}

func build(t *testing.T, dir, program, pkg string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", program, pkg)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}
