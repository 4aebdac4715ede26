package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/etcd"
	"pai.dev/pai/internal/fingerprint"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/test/etcdtest"
	"pai.dev/pai/test/inspecttest"
)

// etcdMachine is a control-plane machine whose units are made up, and whose etcds
// are a test server.
type etcdMachine struct {
	*inspecttest.Host
	t       *testing.T
	to      string // the version that a step moves etcd to
	m       config.Machine
	etcd    *etcdtest.Server
	stopped []string // slots
}

// newEtcdMachine runs v0.9 in slot a, in the cluster with these members. The
// first is the leader.
func newEtcdMachine(t *testing.T, members ...*pb.Member) *etcdMachine {
	t.Helper()
	return newEtcdMachineOf(t, "v0.9-pai", "v0.10-pai", members...)
}

func newEtcdMachineOf(t *testing.T, from, to string, members ...*pb.Member) *etcdMachine {
	t.Helper()
	e := &etcdMachine{Host: inspecttest.NewHost(t, "pai-1"), t: t, to: to, m: testConfig().ControlPlane(), etcd: &etcdtest.Server{Members: members, Leader: members[0].ID}}
	p := etcdtest.NewPKI(t)
	tunnel := etcdtest.NewHost("pai-1", p)
	e.etcd.Serve(t, tunnel, p)
	for name, data := range tunnel.Files {
		e.Write(name, string(data))
	}
	e.Dialer = tunnel.Dial
	e.Script = e.run
	for _, v := range []pai.KubernetesVersion{pai.KubernetesVersion(from), pai.KubernetesVersion(to)} {
		e.Write(installedFile(v), fmt.Sprintf(`{"upstream":%q,"programs":{"etcd":"v%s"}}`, versions[v.Label()], etcdVersions[v.Label()]))
	}
	e.etcd.Version, e.etcd.Storage = etcdVersions[pai.KubernetesVersion(from)], etcdVersions[pai.KubernetesVersion(from)]
	e.start(layout.SlotA, from)
	return e
}

// etcdVersions are the versions of etcd by the Kubernetes version of PAI.
var etcdVersions = map[pai.KubernetesVersion]string{"v0.9-pai": "3.6.8", "v0.10-pai": "3.6.16", "v0.11-pai": "3.7.3"}

func (e *etcdMachine) start(s layout.Slot, version string) {
	if v := etcdVersions[pai.KubernetesVersion(version).Label()]; version == e.to && !e.etcd.Accepts(etcd.Minor(v)) {
		return // it ends with "incompatible with current running cluster"
	}
	e.Link(layout.RoleLink(s.Etcd), "../"+version)
	unit, err := unitOf(s.Etcd)
	if err != nil {
		e.t.Fatal(err)
	}
	if _, err := e.ReadFile(e.t.Context(), layout.UnitFile(s.Etcd)); err != nil { // else the step wrote it
		e.Write(layout.UnitFile(s.Etcd), unitFile(unit))
	}
	e.Units[layout.Unit(s.Etcd)] = inspecttest.Unit{State: "active", PID: s.EtcdClientPort}
	script, _ := e.ReadFile(e.t.Context(), layout.RunScript(version, s.Etcd)) // none before the step
	e.Process(s.EtcdClientPort, layout.Program(version, "etcd"), nil, []string{regexp.MustCompile(fingerprint.Variable + `=\w*`).FindString(string(script))})
	e.etcd.Start(s.Member(e.m.Hostname), s.PeerURL(e.m.HostIP))
}

// run does what the scripts of a handover do to units, and reports what destroys
// a member.
func (e *etcdMachine) run(_ context.Context, c machine.Command) (string, error) {
	for _, s := range layout.Slots() {
		unit, member := layout.Unit(s.Etcd), e.etcd.HasMember(s.PeerURL(e.m.HostIP))
		switch {
		case strings.Contains(c.Script, "systemctl restart "+unit):
			e.start(s, e.to)
		case strings.Contains(c.Script, "systemctl stop "+unit):
			e.Units[unit] = inspecttest.Unit{State: "inactive"}
			e.stopped = append(e.stopped, s.Name)
		case strings.Contains(c.Script, "rm -rf "+s.EtcdData()):
		default:
			continue
		}
		if member && !strings.Contains(c.Script, "restart") {
			e.t.Errorf("slot %s is a member, and this runs: %s", s.Name, c.Script)
		}
	}
	return "", nil
}

func (e *etcdMachine) deps() Deps {
	manifest := kubeadmSays(e.t, versions[pai.KubernetesVersion(e.to).Label()], "etcd.yaml")
	return Deps{Config: testConfig(), Hosts: map[string]machine.Host{"pai-1": e},
		Kubeadm: func(context.Context, []byte, string) (string, error) { return string(manifest), nil }}
}

// startNew starts the new version in slot b, as an earlier run of the step did.
func (e *etcdMachine) startNew() {
	e.t.Helper()
	if err := (&cluster{Deps: e.deps()}).renderRole(e.t.Context(), e, e.m, pai.KubernetesVersion(e.to), layout.RoleEtcdB); err != nil {
		e.t.Fatal(err)
	}
	e.start(layout.SlotB, e.to)
}

// step hands over to the new version, and reports whether that is done.
func (e *etcdMachine) step() (done bool, err error) {
	doer := Doers(e.deps())[plan.KindEtcd]
	s := plan.Step{Kind: plan.KindEtcd, To: pai.AnyVersion(e.to)}
	if done, err := doer.Done(e.t.Context(), s); err != nil || done {
		return done, err
	}
	if err := doer.Do(e.t.Context(), s); err != nil {
		return false, err
	}
	return doer.Done(e.t.Context(), s)
}

func voter(id uint64, name, peer string) *pb.Member {
	return &pb.Member{ID: id, Name: name, PeerURLs: []string{peer}}
}

func TestEtcdHandover(t *testing.T) {
	t.Parallel()
	own := voter(1, "pai-1-a", "https://10.9.0.11:2380")
	two, three := voter(2, "pai-2-a", "https://10.9.0.12:2380"), voter(3, "pai-3-b", "https://10.9.0.13:2390")
	for _, c := range []struct {
		name    string
		members []*pb.Member
	}{
		{"alone", []*pb.Member{own}},
		{"beside two machines, as the leader", []*pb.Member{own, two, three}},
		{"beside two machines, one leads", []*pb.Member{two, own, three}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for i, m := range c.members {
				c.members[i] = voter(m.ID, m.Name, m.PeerURLs[0])
			}
			e := newEtcdMachine(t, c.members...)
			if done, err := e.step(); err != nil || !done {
				t.Fatalf("got done %v, %v", done, err)
			}
			var names []string
			for _, m := range e.etcd.Members {
				names = append(names, m.Name)
				if m.IsLearner {
					t.Errorf("%s is a learner", m.Name)
				}
			}
			if got := strings.Join(names, " "); len(names) != len(c.members) || !strings.Contains(got, "pai-1-b") || len(names) > 1 && (!strings.Contains(got, "pai-2-a") || !strings.Contains(got, "pai-3-b")) {
				t.Errorf("got members %s, want slot b of pai-1 and every other machine", got)
			}
			if e.etcd.Leader == 1 || len(c.members) > 1 && c.members[0].ID == 2 && e.etcd.Leader != 2 {
				t.Errorf("got leader %d", e.etcd.Leader)
			}
			env, err := e.ReadFile(t.Context(), layout.SlotB.EtcdEnv())
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range append(c.members, voter(0, "pai-1-b", "https://10.9.0.11:2390")) {
				if !strings.Contains(string(env), m.Name+"="+m.PeerURLs[0]) {
					t.Errorf("%s is not in the first members: %s", m.Name, env)
				}
			}
			if got := strings.Join(e.stopped, " "); got != "b a" {
				t.Errorf("stopped slots %s, want b before it joins and a at the end", got)
			}
		})
	}
}

// A handover continues where it was killed.
func TestEtcdHandoverResumes(t *testing.T) {
	t.Parallel()
	a, b := voter(1, "pai-1-a", "https://10.9.0.11:2380"), voter(2, "pai-1-b", "https://10.9.0.11:2390")
	learner := voter(2, "", "https://10.9.0.11:2390")
	learner.IsLearner = true
	for _, c := range []struct {
		name    string
		members []*pb.Member
		starts  bool // slot b runs
	}{
		{"after the learner was added", []*pb.Member{a, learner}, false},
		{"after the promotion", []*pb.Member{a, b}, true},
		{"after the new member leads", []*pb.Member{b, a}, true},
		{"after the old member was removed", []*pb.Member{b}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			members := make([]*pb.Member, len(c.members))
			for i, m := range c.members {
				members[i] = voter(m.ID, m.Name, m.PeerURLs[0])
				members[i].IsLearner = m.IsLearner
			}
			e := newEtcdMachine(t, members...)
			if c.starts {
				e.startNew()
			}
			if done, err := e.step(); err != nil || !done {
				t.Fatalf("got done %v, %v", done, err)
			}
			if len(e.etcd.Members) != 1 || e.etcd.Members[0].Name != "pai-1-b" || len(e.etcd.Removed) > 1 {
				t.Errorf("got members %v, removed %v", e.etcd.Members, e.etcd.Removed)
			}
		})
	}
}

// A member with the name of the old slot but another address was added by hand.
// It is not removed, and the data that it might have is kept.
func TestEtcdHandoverKeepsUnknownMembers(t *testing.T) {
	t.Parallel()
	e := newEtcdMachine(t, voter(2, "pai-1-b", "https://10.9.0.11:2390"), voter(1, "pai-1-a", "https://10.9.0.99:2380"))
	e.startNew()
	done, err := e.step()
	if done || err == nil || !strings.Contains(err.Error(), "it is a member") || len(e.etcd.Removed) > 0 || len(e.stopped) > 0 || e.Ran("rm -rf "+layout.SlotA.EtcdData()) {
		t.Errorf("got done %v, %v, removed %v, stopped %v, want an error and nothing changed", done, err, e.etcd.Removed, e.stopped)
	}
}

// An etcd that served does not start without its data: as the only member of an existing
// cluster, it finds no other member, and ends.
func TestEtcdStartsNoSecondCluster(t *testing.T) {
	t.Parallel()
	b := voter(1, "pai-1-b", "https://10.9.0.11:2390")
	e := newEtcdMachine(t, b)
	c := &cluster{Deps: e.deps()}
	move := func() etcdHandover {
		client, err := c.etcds.Open(t.Context(), e)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(client.Close)
		return etcdHandover{c, client, e, e.m, layout.SlotA, layout.SlotB, pai.KubernetesVersion(e.to), ""}
	}()
	env := func() string {
		data, err := e.ReadFile(t.Context(), layout.SlotB.EtcdEnv())
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	var first string
	e.Script = func(ctx context.Context, cmd machine.Command) (string, error) {
		if strings.Contains(cmd.Script, "systemctl restart") {
			first = env()
		}
		return e.run(ctx, cmd)
	}
	if err := move.startAlone(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(first, "ETCD_INITIAL_CLUSTER_STATE=new\n") || !strings.HasPrefix(env(), "ETCD_INITIAL_CLUSTER_STATE=existing\n") {
		t.Errorf("started with %q, and would start again with %q", first, env())
	}

	shell(t, e.Host)
	wal := func(s layout.Slot) string { return s.EtcdData() + "/member/wal/0.wal" }
	for _, s := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"the first start", nil, stateNew},
		{"a first start that was killed", map[string]string{layout.SlotB.EtcdEnv(): "ETCD_INITIAL_CLUSTER_STATE=new\n"}, stateNew},
		{"with data", map[string]string{wal(layout.SlotB): "", layout.SlotB.EtcdEnv(): "ETCD_INITIAL_CLUSTER_STATE=new\n"}, stateExisting},
		{"the disk is missing", map[string]string{layout.SlotB.EtcdEnv(): "ETCD_INITIAL_CLUSTER_STATE=existing\n"}, "lost"},
		{"the disk is missing, and etcd tried to start", map[string]string{layout.SlotB.EtcdEnv(): "ETCD_INITIAL_CLUSTER_STATE=existing\n",
			layout.SlotB.EtcdDatabase(): "empty"}, "lost"},
		{"the disk of the other slot is missing", map[string]string{layout.SlotA.EtcdEnv(): "ETCD_INITIAL_CLUSTER_STATE=existing\n"}, "lost"},
		{"the other slot has data", map[string]string{wal(layout.SlotA): ""}, "lost"},
	} {
		for _, slot := range layout.Slots() {
			if err := errors.Join(os.RemoveAll(e.At(slot.EtcdData())), os.RemoveAll(e.At(slot.EtcdEnv()))); err != nil {
				t.Fatal(err)
			}
		}
		for name, data := range s.files {
			e.Write(name, data)
		}
		got, err := move.firstState(t.Context())
		if err != nil && strings.Contains(err.Error(), "its data are not in") {
			got = "lost"
		}
		if got != s.want {
			t.Errorf("%s: got %q, %v, want %q", s.name, got, err, s.want)
		}
	}
}

// While data of etcd are removed, there is no moment in which an etcd that boots could
// start a second cluster.
func TestEtcdDataOutliveTheirMembership(t *testing.T) {
	t.Parallel()
	for _, remove := range map[string]func(e *etcdMachine) error{
		"removeEtcd": func(e *etcdMachine) error { return removeEtcd(t.Context(), e, layout.SlotB) },
		"join": func(e *etcdMachine) error {
			_, err := e.step()
			return err
		},
	} {
		e := newEtcdMachine(t, voter(1, "pai-1-a", "https://10.9.0.11:2380"))
		if err := remove(e); err != nil {
			t.Fatal(err)
		}
		found := false
		for _, script := range e.Scripts {
			data := strings.Index(script, "rm -rf "+layout.SlotB.EtcdData())
			if data < 0 {
				continue
			}
			found = true
			env, synced := strings.Index(script, "rm -f "+layout.SlotB.EtcdEnv()), strings.Index(script, "sync "+layout.ConfigDir)
			if env < 0 || synced < env || data < synced {
				t.Errorf("got\n%s\nwant the membership removed and synced before the data", script)
			}
		}
		if !found {
			t.Error("no data were removed")
		}
	}
}
