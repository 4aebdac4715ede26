package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A cluster that grows to several control-plane machines keeps the connections of all: the
// address for other machines becomes one of serve, and the API server of a worker another
// machine.
func TestGrowthKeepsConnections(t *testing.T) {
	t.Parallel()
	ms := startMachines(t, 1)
	m := ms.control[0]
	f := ms.at(m.serve)
	before := ms.configOf(m)
	before.Listen, before.Serve = append(before.Listen, m.serve), nil
	m.proxy.apply(before)
	f.eventually("a")
	ms.use(backendConfig{Address: m.serve})
	ms.eventually("a")
	kept, keptByWorker := f.keptClient("a"), ms.keptClient("a")
	stop := f.asking()
	after := ms.configOf(m)
	after.Backends = append(after.Backends, backendConfig{Address: "127.0.0.1:1", Remote: true})
	m.proxy.apply(after)
	ms.use(backendConfig{Address: m.serve, Remote: true}, backendConfig{Address: "127.0.0.1:1", Remote: true})
	ms.eventually("a")
	stop()
	for _, c := range []struct {
		f    *fixture
		name string
	}{{f, "control plane"}, {ms.fixture, "worker"}} {
		client := kept
		if c.name == "worker" {
			client = keptByWorker
		}
		b := m.proxy.backends[0]
		if got, err := c.f.ask(client); got != "a" || err != nil {
			t.Errorf("%s: the connection from before is answered by %q: %v", c.name, got, err)
		}
		b.mu.Lock()
		if b.rules != redundant {
			t.Errorf("the API server has the rules %d, want those where others exist", b.rules)
		}
		b.mu.Unlock()
	}
}

// The next proxy gets the listener for other machines, and does not refuse a connection while it
// does not know yet whether its API server is ready.
func TestReplacedProxyServesOtherMachines(t *testing.T) {
	t.Parallel()
	ms := startMachines(t, 1)
	m := ms.control[0]
	f := ms.at(m.serve)
	ms.open(m.serve)
	f.eventually("a")
	if got := listening(t.Context(), []string{m.serve}); len(got) != 1 {
		t.Fatalf("the addresses %q are held, want the one where the proxy listens", got)
	}
	path, done := startHold(f)
	released := ms.configOf(m)
	released.Listen, released.Serve = nil, nil
	m.proxy.apply(released)
	ms.open(m.serve) // at the holder
	stop := f.asking()
	listeners, err := take(t.Context(), path)
	if err != nil || len(listeners) != 1 {
		t.Fatalf("took %d listeners: %v", len(listeners), err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	m.proxy = newProxy(testTimings(), listeners)
	t.Cleanup(m.proxy.close)
	m.proxy.apply(ms.configOf(m))
	stop()
}

// An address for other machines that is closed stays closed while the proxy is replaced, and so
// does one that was held until the next proxy finds that its API server is not ready.
func TestReplacedProxyLeavesTheAddressClosed(t *testing.T) {
	t.Parallel()
	ms := startMachines(t, 1)
	m := ms.control[0]
	ms.open(m.serve)
	m.server.ready.Store(false)
	ms.closed(m.serve)
	if got := listening(t.Context(), []string{m.serve, m.listen}); len(got) != 1 || got[0] != m.listen {
		t.Errorf("the addresses %q are held, want the one where the proxy listens", got)
	}
	l, err := net.Listen("tcp", m.serve) // a holder had it
	if err != nil {
		t.Fatal(err)
	}
	m.proxy.close()
	m.proxy = newProxy(testTimings(), map[string]net.Listener{m.serve: l})
	t.Cleanup(m.proxy.close)
	m.proxy.apply(ms.configOf(m))
	ms.closed(m.serve)
	m.server.ready.Store(true)
	ms.at(m.serve).eventually("a")
}

// A configuration that sends a connection back to the proxy is not used, and one of
// older releases is read as before.
func TestConfigurationsThatAreRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca := filepath.Join(dir, "ca.crt")
	if err := os.WriteFile(ca, newAuthority(t).pem, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, text, refused string }{
		{"an older release", `{"listen":["127.0.0.1:6443","10.9.0.11:6443"],"backends":[{"address":"127.0.0.1:6444","draining":true},{"address":"127.0.0.1:6445"}]`, ""},
		{"several", `{"listen":["127.0.0.1:6443"],"serve":["10.9.0.11:6443"],"backends":[{"address":"127.0.0.1:6444"},{"address":"10.9.0.12:6443","remote":true}]`, ""},
		{"itself", `{"listen":["127.0.0.1:6443"],"serve":["10.9.0.11:6443"],"backends":[{"address":"10.9.0.11:6443","remote":true}]`, "backend 10.9.0.11:6443 is an address of this proxy"},
		{"itself, in listen", `{"listen":["127.0.0.1:6443"],"backends":[{"address":"127.0.0.1:6443"}]`, "backend 127.0.0.1:6443 is an address of this proxy"},
		{"twice", `{"listen":["10.9.0.11:6443"],"serve":["10.9.0.11:6443"],"backends":[]`, "10.9.0.11:6443 is an address in listen and in serve"},
	} {
		file := filepath.Join(dir, "api-proxy.json")
		if err := os.WriteFile(file, []byte(c.text+`,"ca":"`+ca+`","serverName":"api.pai.internal"}`), 0o600); err != nil {
			t.Fatal(err)
		}
		got, _, err := loadConfig(file)
		if c.refused != "" {
			if err == nil || !strings.Contains(err.Error(), c.refused) {
				t.Errorf("%s: got %v, want %q", c.name, err, c.refused)
			}
			continue
		}
		if err != nil || got.several() != (c.name == "several") || len(got.Backends) != 2 {
			t.Errorf("%s: got %+v, %v", c.name, got, err)
		}
	}
}
