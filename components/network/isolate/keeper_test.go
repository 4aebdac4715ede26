package isolate

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/cache"
)

// keep runs a keeper on a machine until the returned function is called.
func keep(t *testing.T, m *testMachine, k *Keeper) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{}, 2)
	for _, run := range []func(context.Context){k.Run, KeepAnchor} {
		go func() {
			m.inside("machine", func() error { run(ctx); return nil }) // Run fails never
			done <- struct{}{}
		}()
	}
	stopped := false
	stop = func() {
		if !stopped {
			cancel()
			<-done
			<-done
			stopped = true
		}
	}
	t.Cleanup(stop)
	return stop
}

// keeperOf is a keeper of the pods of a machine, with what an API says.
func keeperOf(t *testing.T, m *testMachine, dir string, r rules, client *fake.Clientset) *Keeper {
	t.Helper()
	w, err := watch(client)
	if err != nil {
		t.Fatal(err)
	}
	k := &Keeper{watcher: w, Options: Options{Config: Config{Services: r.services, DNS: r.dns, Policy: r.policy}, Bridge: r.bridge, Pods: r.pods,
		Results: filepath.Join(dir, "results"), State: filepath.Join(dir, "state"), Node: "m1"}}
	k.pods = podFiles{dir: k.Results, bridge: k.Bridge, exists: func(string) bool { return true }}
	if k.state, err = loadState(k.State); err != nil {
		t.Fatal(err)
	}
	return k
}

func (m *testMachine) connect(dir, pod, namespace, job string) {
	m.t.Helper()
	text := cniFile(pod, namespace, m.pods[pod].String()+"/24", m.port(pod), job)
	text = strings.Replace(text, "5E:4F:9c:8a:11:44", m.mac(pod), 1)
	if err := os.MkdirAll(filepath.Join(dir, "results"), 0o700); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "results", "pai-"+pod+"-eth0"), []byte(text), 0o600); err != nil {
		m.t.Fatal(err)
	}
}

// reaches is for what has to be dropped: on a busy host, a connection can take longer.
func (m *testMachine) reaches(from, to string, port int) bool {
	c, err := m.dialFrom(from, "", to, port, dropTimeout)
	if err == nil {
		c.Close()
	}
	return err == nil
}

// mustReach requires a connection.
func (m *testMachine) mustReach(from, to string, port int) {
	m.t.Helper()
	c, err := m.dial(from, to, port)
	if err != nil {
		m.t.Errorf("%s does not reach %s:%d: %v", from, to, port, err)
		return
	}
	c.Close()
}

// waitForRules waits until the rules know these pods as tasks, with the other machine
// closed. What a task does not reach from then on is dropped, and not only slow.
func (m *testMachine) waitForRules(tasks ...string) {
	m.t.Helper()
	eventually(m.t, fmt.Sprintf("the rules have the tasks %v", tasks), func() bool {
		text := m.on("machine", "nft list table inet pai-tasks 2>/dev/null || true")
		_, closed, _ := strings.Cut(text, "set closed {")
		closed, _, _ = strings.Cut(closed, "}\n\t}")
		here := ""
		for _, set := range strings.Split(text, "\tset ") {
			if strings.HasPrefix(set, "tasks") {
				here += set
			}
		}
		for _, name := range tasks {
			if !slices.Contains(words(here), m.pods[name].String()) {
				return false
			}
		}
		return slices.Contains(words(closed), otherMachine)
	})
}

// Removed rules are noticed at the next look, not only when all rules are compared.
func TestRemovedRulesAreNoticedAtOnce(t *testing.T) {
	m, r := apart(t)
	k := keeperOf(t, m, t.TempDir(), r, fake.NewClientset())
	for _, c := range []struct {
		remove string
		want   string
	}{{"", "written"}, {"nft delete table " + bridgeTable, ""}, {"nft flush ruleset", ""}} {
		m.nft(r.text())
		if c.remove != "" {
			m.on("machine", c.remove)
		}
		k.applied, k.written.sure = "written", true
		m.inside("machine", func() error {
			k.bridged = !passesBridged()
			k.check(t.Context(), false)
			return nil
		})
		if k.applied != c.want {
			t.Errorf("after %q, the written rules are %q, want %q", c.remove, k.applied, c.want)
		}
	}
}

// The rules follow the pods and the API, outlive the program, come back after they were
// removed, and no running connection ends.
func TestKeeperKeepsRules(t *testing.T) {
	m, r := apart(t)
	dir := t.TempDir()
	pod := func(name string) string { return m.pods[name].String() }
	client := fake.NewClientset(node("m1", machineAddress, "", ""), node("m2", otherMachine, "", ""),
		slice("pai-vc-a", "job", "job-1", true, pod("one"), pod("two")), slice("pai-vc-a", "other", "other-1", true, pod("else")))
	m.connect(dir, "system", "pai-system", "")
	m.connect(dir, "older", "pai-vc-a", `"pai.dev/job-name":"x"`)
	m.connect(dir, "one", "pai-vc-a", `"pai.dev/network":"job"`)
	// Masquerading, as the program has it, and a connection through it.
	m.nft("table ip flannel-test {\nchain postrtg {\ntype nat hook postrouting priority srcnat;\noifname \"eth0\" masquerade\n}\n}")
	m.on("world", "ip route del 10.244.0.0/16")
	masqueraded, err := m.dial("one", outside, httpPort)
	if err != nil {
		t.Fatal(err)
	}
	defer masqueraded.Close()
	k := keeperOf(t, m, dir, r, client)
	var restored atomic.Int32
	k.Guard("ip flannel-test", func(context.Context) error { restored.Add(1); return nil })
	stop := keep(t, m, k)
	isolated := func() bool { return !m.reaches("one", otherMachine, 22) }
	m.waitForRules("one")
	if !isolated() {
		t.Error("the task is not apart")
	}
	eventually(t, "the anchor is set", func() bool { return strings.Contains(m.on("machine", "nft list tables"), AnchorTable) })
	m.mustReach("system", machineAddress, 22)
	m.mustReach("older", machineAddress, 22)

	m.connect(dir, "two", "pai-vc-a", `"pai.dev/network":"job"`)
	m.connect(dir, "else", "pai-vc-a", `"pai.dev/network":"other"`)
	m.waitForRules("one", "two", "else")
	m.mustReach("two", pod("one"), httpPort)
	if m.reaches("else", pod("one"), httpPort) {
		t.Error("a task reaches another job")
	}
	open, err := m.dial("one", pod("two"), httpPort)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	alive := func(after string) {
		t.Helper()
		for name, c := range map[string]net.Conn{"within the job": open, "to the outside": masqueraded} {
			if err := echo(c); err != nil {
				t.Errorf("after %s, the connection %s ended: %v", after, name, err)
			}
		}
	}
	alive("new pods")

	stop()
	if !isolated() || m.reaches("one", pod("else"), httpPort) {
		t.Error("the rules did not outlive the program")
	}
	alive("the end of the program")
	k = keeperOf(t, m, dir, r, client)
	k.Guard("ip flannel-test", func(context.Context) error { restored.Add(1); return nil })
	keep(t, m, k)
	eventually(t, "the anchor is set again", func() bool { return strings.Contains(m.on("machine", "nft list tables"), AnchorTable) })

	if err := masqueraded.SetDeadline(time.Now().Add(reachTimeout)); err != nil {
		t.Fatal(err)
	}
	if _, err := masqueraded.Write([]byte("x")); err != nil { // its answer arrives while there are no rules
		t.Fatal(err)
	}
	m.on("machine", "nft flush ruleset")
	eventually(t, "the rules are back", func() bool { return strings.Contains(m.on("machine", "nft list tables"), hostTable) })
	eventually(t, "the limit of connections is back", func() bool { return strings.Contains(m.on("machine", "nft list tables"), connectionTable) })
	if _, err := masqueraded.Read(make([]byte, 1)); err != nil {
		t.Errorf("the connection to the outside ended: %v", err)
	}
	alive("nft flush ruleset")
	if !isolated() {
		t.Error("the task is not apart any more")
	}
	eventually(t, "the other rules were restored", func() bool { return restored.Load() > 0 })

	m.on("machine", "sysctl -qw net.bridge.bridge-nf-call-iptables=0")
	eventually(t, "bridged packets have rules", func() bool {
		return strings.Contains(m.on("machine", "nft list table bridge pai-tasks 2>/dev/null || true"), "chain forward")
	})
	if m.reaches("one", pod("else"), httpPort) {
		t.Error("a bridged packet reaches another job")
	}
	m.on("machine", "sysctl -qw net.bridge.bridge-nf-call-iptables=1")
	m.on("machine", "nft flush chain inet pai-tasks from_tasks; nft flush chain inet pai-tasks input")
	eventually(t, "a changed rule is back", func() bool {
		return strings.Contains(m.on("machine", "nft list chain inet pai-tasks input 2>/dev/null || true"), "@platform accept")
	})
	if m.reaches("one", machineAddress, 22) {
		t.Error("the task reaches its machine")
	}
}

// Without the API, what it said last counts, also after a restart.
func TestKeeperStartsWithoutTheAPI(t *testing.T) {
	m, r := apart(t)
	dir := t.TempDir()
	m.connect(dir, "one", "pai-vc-a", `"pai.dev/network":"job"`)
	m.connect(dir, "two", "pai-vc-a", `"pai.dev/network":"job"`)
	if err := saveState(filepath.Join(dir, "state"), state{Known: known{Machines: addrs(machineAddress, otherMachine), Closed: addrs(otherMachine),
		Peers: map[string][]netip.Addr{"pai-vc-a/job": addrs("10.244.2.2")}}}); err != nil {
		t.Fatal(err)
	}
	client := fake.NewClientset()
	k := keeperOf(t, m, dir, r, client)
	k.watcher.nodes = neverSynced{k.watcher.nodes}
	keep(t, m, k)
	m.waitForRules("one", "two")
	if m.reaches("one", otherMachine, 22) || m.reaches("one", machineAddress, 22) {
		t.Error("a task reaches a machine")
	}
	m.mustReach("one", m.pods["two"].String(), httpPort)
	if rules := m.on("machine", "nft list table inet pai-tasks"); !strings.Contains(rules, "10.244.2.2") {
		t.Errorf("a task of another machine is not known: %s", rules)
	}
}

// neverSynced is an API that is unavailable.
type neverSynced struct{ cache.SharedIndexInformer }

func (neverSynced) HasSynced() bool { return false }

// A task keeps the policy that it started with, over a change of the configuration and a
// restart; one that starts later has the new one.
func TestKeeperKeepsPolicies(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, second := Policy{Networks: r4("10.0.0.0/8")}, Policy{Networks: r4("192.168.0.0/16")}
	start := func(p Policy, pods ...pod) rules {
		k := &Keeper{Options: Options{Config: Config{Policy: p}, State: filepath.Join(dir, "state")}, list: pods}
		var err error
		if k.state, err = loadState(k.State); err != nil {
			t.Fatal(err)
		}
		if k.watcher, err = watch(fake.NewClientset()); err != nil {
			t.Fatal(err)
		}
		if err := k.record(); err != nil {
			t.Fatal(err)
		}
		return k.rules()
	}
	old, fresh := pod{id: "a", address: addrs("10.244.1.5")[0], job: "a/1"}, pod{id: "b", address: addrs("10.244.1.6")[0], job: "a/1"}
	start(first, old)
	r := start(second, old, fresh)
	if r.tasks[0].policy.key() != first.key() || r.tasks[1].policy.key() != second.key() {
		t.Errorf("got %+v", r.tasks)
	}
	if got := r.networks(); !slices.Equal(got, []string{"ip daddr 192.168.0.0/16 ", "ip saddr { 10.244.1.5 } ip daddr 10.0.0.0/8 "}) {
		t.Errorf("got %q", got)
	}
	start(second, fresh)
	if r = start(second, old, fresh); r.tasks[0].policy.key() != second.key() {
		t.Error("the policy of a task that ended is still stored")
	}
}

func TestStateIsReadWithCare(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "state")
	for _, text := range []string{"", "{", `{"policies":{"a":{"networks":["10.0.0.1/8"]}}}`, `{"known":{"machines":["x"]}}`} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if s, err := loadState(file); err == nil || len(s.Policies) > 0 || s.Policies == nil {
			t.Errorf("%q: got %+v, %v", text, s, err)
		}
	}
}

// A change between the write of the rules and their listing is noticed, too. Without a
// change, the rules are written twice and then left alone.
func TestChangeRightAfterTheWriteIsNoticed(t *testing.T) {
	m, r := apart(t)
	dir := t.TempDir()
	m.connect(dir, "one", "pai-vc-a", `"pai.dev/network":"job"`)
	m.connect(dir, "two", "pai-vc-a", `"pai.dev/network":"job"`)
	k := keeperOf(t, m, dir, r, fake.NewClientset(node("m1", machineAddress, "", "")))
	look := func(compare bool) error {
		k.check(t.Context(), compare)
		return k.update(t.Context(), true)
	}
	shows := func() string { return m.on("machine", "nft list chain inet pai-tasks from_tasks") }
	if err := m.inside("machine", func() error { return look(false) }); err != nil {
		t.Fatal(err)
	}
	whole := shows()
	m.on("machine", "nft flush chain inet pai-tasks from_tasks")
	err := m.inside("machine", func() (err error) { // as if the change had come first
		k.written.shown, err = listing(t.Context())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := m.inside("machine", func() error { return look(true) }); err != nil {
			t.Fatal(err)
		}
	}
	if got := shows(); got != whole || len(strings.Fields(whole)) < 10 {
		t.Errorf("got the rules\n%s\nwant\n%s", got, whole)
	}
	if !k.written.sure {
		t.Error("the rules are written again each second although nothing changes them")
	}
}
