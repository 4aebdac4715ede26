package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/test/inspecttest"
)

// The first etcd of a cluster starts only if every other control-plane machine has none for
// certain.
func TestFirstEtcdNeedsCertainty(t *testing.T) {
	t.Parallel()
	states := []string{"empty", "stopped", "unreachable", "voter"}
	for _, two := range states {
		for _, three := range states {
			t.Run(two+" "+three, func(t *testing.T) {
				t.Parallel()
				var voters []string
				for name, state := range map[string]string{"pai-2": two, "pai-3": three} {
					if state == "voter" {
						voters = append(voters, name)
					}
				}
				slices.Sort(voters)
				e := newSeveralEtcds(t, "v0.11-pai", "v0.11-pai", voters...)
				deps := e.deps()
				for name, state := range map[string]string{"pai-2": two, "pai-3": three} {
					switch state {
					case "stopped":
						e.data(name, layout.SlotA, 55)
					case "unreachable":
						delete(deps.Hosts, name)
					}
				}
				err := Doers(deps)[plan.KindEtcd].Do(t.Context(), plan.Step{Kind: plan.KindEtcd, Target: "pai-1", To: "v0.11-pai"})
				first := two == "empty" && three == "empty"
				if (err == nil) != (first || len(voters) > 0) {
					t.Errorf("got %v", err)
				}
				want := ""
				for _, name := range voters {
					want += name + "-a "
				}
				switch {
				case first:
					want = "pai-1-a"
				case len(voters) > 0:
					want += "pai-1-a*"
				}
				if got := e.members(); got != want || e.second || len(e.server.Removed) > 0 {
					t.Errorf("got members %q, a second cluster %v, removed %v; want %q", got, e.second, e.server.Removed, want)
				}
				if err != nil && pai.CodeOf(err) != pai.CodeRefused {
					t.Errorf("got %v, want a refusal", err)
				}
			})
		}
	}
}

// Members that were stopped are started with their data, and start no cluster.
func TestStoppedEtcdsStartTogether(t *testing.T) {
	t.Parallel()
	e := newSeveralEtcds(t, "v0.11-pai", "v0.11-pai", "pai-1", "pai-2", "pai-3")
	for name, m := range e.machines {
		if err := removeLinkAndStop(t.Context(), e, name); err != nil {
			t.Fatal(err)
		}
		m.nodes[layout.SlotA].Down = true
	}
	ended := make(chan error, 3)
	for name := range e.machines {
		go func() {
			_, err := e.step(plan.KindEtcd, name)
			ended <- err
		}()
	}
	for range 3 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	for name := range e.machines {
		if done, err := e.step(plan.KindEtcd, name); err != nil || !done {
			t.Errorf("%s: got done %v, %v", name, done, err)
		}
	}
	if got := e.members(); got != "pai-1-a pai-2-a pai-3-a" || e.second || len(e.server.Removed) > 0 {
		t.Errorf("got members %s, a second cluster %v, removed %v", got, e.second, e.server.Removed)
	}
}

func removeLinkAndStop(ctx context.Context, e *severalEtcds, name string) error {
	if err := stopRole(ctx, e.machines[name], layout.RoleEtcdA); err != nil {
		return err
	}
	return removeLink(ctx, e.machines[name], layout.RoleEtcdA)
}

// An etcd that starts alone removes nothing at the address of another control-plane machine.
func TestStartAloneKeepsOtherControlPlanes(t *testing.T) {
	t.Parallel()
	e := newSeveralEtcds(t, "v0.11-pai", "v0.11-pai", "pai-1")
	e.learner(8, "", "pai-2", layout.SlotA)
	e.learner(9, "", "pai-3", layout.SlotB)
	e.server.Members = append(e.server.Members, &pb.Member{ID: 10, PeerURLs: []string{"https://10.9.0.99:2380"}}) // by hand
	c := &cluster{Deps: e.deps()}
	m := e.machines["pai-1"]
	client, err := c.etcds.Open(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	e.server.Members[3].IsLearner = true
	if err := (etcdHandover{c, client, m, m.Machine, layout.SlotB, layout.SlotA, "v0.11-pai", ""}).startAlone(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(e.server.Removed, []uint64{10}) {
		t.Errorf("removed %v, want only the one that was added by hand", e.server.Removed)
	}
}

// One of several voters is restarted where it is. The only voter is handed over, as on a
// single machine.
func TestEtcdOfSeveralIsRestartedInPlace(t *testing.T) {
	t.Parallel()
	e := newSeveralEtcds(t, "v0.10-pai", "v0.11-pai", "pai-1", "pai-2", "pai-3")
	for _, name := range []string{"pai-2", "pai-3", "pai-1"} {
		if done, err := e.step(plan.KindEtcd, name); err != nil || !done {
			t.Fatalf("%s: got done %v, %v", name, done, err)
		}
		if m := e.machines[name]; !m.Ran("replace-etcd.sh a 'v0.11-pai' " + layout.HelperDir) {
			t.Errorf("%s: the script did not run", name)
		}
	}
	if got := e.members(); got != "pai-1-a pai-2-a pai-3-a" || len(e.server.Removed) > 0 || e.server.Enabled > 0 {
		t.Errorf("got members %s, removed %v, %d downgrades", got, e.server.Removed, e.server.Enabled)
	}

	alone := newSeveralEtcds(t, "v0.10-pai", "v0.11-pai", "pai-1")
	if done, err := alone.step(plan.KindEtcd, "pai-1"); err != nil || !done || alone.members() != "pai-1-b" {
		t.Errorf("the only voter: got done %v, %v, members %s, want a handover", done, err, alone.members())
	}
}

func TestEtcdInPlaceFails(t *testing.T) {
	t.Parallel()
	e := newSeveralEtcds(t, "v0.10-pai", "v0.11-pai", "pai-1", "pai-2", "pai-3")
	e.broken = true
	if _, err := e.step(plan.KindEtcd, "pai-2"); err == nil || !strings.Contains(err.Error(), "does not serve") {
		t.Errorf("got %v, want the log of the script", err)
	}
	// A voter without its data could vote twice.
	if _, err := sh(t.Context(), e.machines["pai-3"], "rm -r %s", layout.SlotA.EtcdData()); err != nil {
		t.Fatal(err)
	}
	e.broken = false
	if _, err := e.step(plan.KindEtcd, "pai-3"); err == nil || !strings.Contains(err.Error(), "its data are not in") || e.machines["pai-3"].Ran("systemd-run") {
		t.Errorf("got %v, want that its data are lost", err)
	}
}

// An older minor of etcd starts over data in its form, while the others have the newer one.
func TestOlderEtcdInPlace(t *testing.T) {
	t.Parallel()
	e := newSeveralEtcds(t, "v0.11-pai", "v0.10-pai", "pai-1", "pai-2", "pai-3")
	if done, err := e.step(plan.KindEtcd, "pai-2"); err != nil || !done {
		t.Fatalf("got done %v, %v", done, err)
	}
	if e.server.Enabled != 1 || !strings.HasPrefix(e.server.Storage, "3.6.") {
		t.Errorf("got %d downgrades, and the form %s, want that of 3.6", e.server.Enabled, e.server.Storage)
	}
}

// The command of the transient unit starts the API servers again, whatever ends it.
func TestEtcdRestartStartsAPIServersAgain(t *testing.T) {
	t.Parallel()
	var scripts []string
	h := &fakeHost{run: func(script string) (string, error) { scripts = append(scripts, script); return "", nil }}
	d := detached{what: "etcd restart", unit: layout.ReplaceEtcdUnit, log: "replace-etcd.log", timeout: time.Minute, properties: []string{startEnabled(plan.RoleAPIServerA, plan.RoleAPIServerB)}, command: "true"}
	if err := d.run(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"--wait --unit=pai-etcd-replace.service --property=Type=exec --property='ExecStopPost=/bin/sh -c ", "pai-apiserver-a.service pai-apiserver-b.service", "systemctl start --no-block $u"} {
		if got := fmt.Sprint(scripts); !strings.Contains(got, want) {
			t.Errorf("got %s, want %q", got, want)
		}
	}
}

// All machines can join before any of them votes. In a cluster of one, the file of etcd stays
// as it was.
func TestSeveralEtcdsHaveMoreLearners(t *testing.T) {
	t.Parallel()
	f, err := flagsOfManifest(kubeadmSays(t, "v1.37.2", "etcd.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	cfg := testConfig()
	for n, want := range map[int]bool{1: false, 2: true} {
		cfg.Layout.MachineList = []config.Machine{cfg.ControlPlane()}
		if n == 2 {
			cfg.Layout.MachineList = append(cfg.Layout.MachineList, config.Machine{Hostname: "pai-2", HostIP: "10.9.0.12", Role: config.RoleControlPlane})
		}
		if got := etcdScript(cfg, cfg.ControlPlane(), "v0.11-pai", layout.RoleEtcdA, f); strings.Contains(got, "--max-learners=4") != want {
			t.Errorf("%d control-plane machines: got\n%s\nwant more learners: %v", n, got, want)
		}
	}
}

// etcd makes its directories before its log. Without a log it has no data, and a start as if it
// had would never succeed.
func TestDirectoriesOfEtcdAreNoData(t *testing.T) {
	t.Parallel()
	h := inspecttest.NewHost(t, "pai-1")
	shell(t, h)
	h.Write(layout.SlotA.EtcdData()+"/member/snap/db", "x")
	if have, err := slotsWithWAL(t.Context(), h); err != nil || len(have) > 0 {
		t.Errorf("without a log: got %v, %v", have, err)
	}
	h.Write(layout.SlotB.EtcdData()+"/member/wal/0.wal", "x")
	if have, err := slotsWithWAL(t.Context(), h); err != nil || !slices.Equal(have, []layout.Slot{layout.SlotB}) {
		t.Errorf("with a log in slot b: got %v, %v", have, err)
	}
}
