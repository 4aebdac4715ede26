package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/test/etcdtest"
	"pai.dev/pai/test/inspecttest"
)

// severalEtcds are three control-plane machines whose etcds are made up. Scripts run on the
// files of their machine; what they do to the units of etcd happens to the made-up etcds. The
// log of an etcd contains the ID of its member.
type severalEtcds struct {
	t        *testing.T
	from, to string
	cfg      *config.Config
	server   *etcdtest.Server
	machines map[string]*severalMachine
	broken   bool // an etcd of the version to does not start
	second   bool // an etcd started a second cluster, or one that was removed started
}

type severalMachine struct {
	*inspecttest.Host
	config.Machine
	nodes map[layout.Slot]*etcdtest.Node
}

func (m *severalMachine) Name() string { return m.Hostname() }

func (m *severalMachine) Hostname() string { return m.Machine.Hostname }

// newSeveralEtcds has voters in slot a of the named machines, which run a version.
func newSeveralEtcds(t *testing.T, from, to string, voters ...string) *severalEtcds {
	t.Helper()
	e := &severalEtcds{t: t, from: from, to: to, cfg: testConfig(), server: &etcdtest.Server{Leader: 1}, machines: map[string]*severalMachine{}}
	e.server.Version, e.server.Storage = etcdVersions[pai.KubernetesVersion(from)], etcdVersions[pai.KubernetesVersion(from)]
	e.cfg.Layout.MachineList = nil
	p := etcdtest.NewPKI(t)
	for i := range 3 {
		m := &severalMachine{Host: inspecttest.NewHost(t, fmt.Sprintf("pai-%d", i+1)), nodes: map[layout.Slot]*etcdtest.Node{}}
		m.Machine = config.Machine{Hostname: m.Host.Hostname, HostIP: fmt.Sprintf("10.9.0.%d", i+11), Role: config.RoleControlPlane}
		e.cfg.Layout.MachineList = append(e.cfg.Layout.MachineList, m.Machine)
		tunnel := etcdtest.NewHost(m.Hostname(), p)
		for _, s := range layout.Slots() {
			m.nodes[s] = &etcdtest.Node{Cluster: 7, Term: 4, Down: true}
			e.server.ServeNode(t, tunnel, p, s, m.nodes[s])
			unit, err := unitOf(s.Etcd)
			if err != nil {
				t.Fatal(err)
			}
			m.Write(layout.UnitFile(s.Etcd), unitFile(unit))
		}
		for name, data := range tunnel.Files {
			m.Write(name, string(data))
		}
		m.Dialer = tunnel.Dial
		for _, v := range []pai.KubernetesVersion{pai.KubernetesVersion(from), pai.KubernetesVersion(to)} {
			m.Write(installedFile(v), fmt.Sprintf(`{"upstream":%q,"programs":{"etcd":"v%s"}}`, versions[v.Label()], etcdVersions[v.Label()]))
		}
		shell(t, m.Host)
		run := m.Script
		m.Script = func(ctx context.Context, c machine.Command) (string, error) { return e.run(ctx, m, run, c) }
		e.machines[m.Hostname()] = m
	}
	for i, name := range voters {
		m := e.machines[name]
		e.server.Members = append(e.server.Members, &pb.Member{ID: uint64(i + 1), Name: name + "-a", PeerURLs: []string{layout.SlotA.PeerURL(m.HostIP)}})
		e.data(name, layout.SlotA, uint64(i+1))
		e.serve(name, layout.SlotA, from)
	}
	return e
}

// data writes the log of a member.
func (e *severalEtcds) data(name string, s layout.Slot, id uint64) {
	e.t.Helper()
	e.machines[name].Write(s.EtcdData()+"/member/wal/0.wal", fmt.Sprint(id))
	e.machines[name].Write(s.EtcdEnv(), membership(stateExisting, ""))
}

// serve runs the etcd in a slot with a version, as an earlier step started it.
func (e *severalEtcds) serve(name string, s layout.Slot, version string) {
	e.t.Helper()
	m := e.machines[name]
	c := &cluster{Deps: e.deps()}
	if err := c.renderRole(e.t.Context(), m, m.Machine, pai.KubernetesVersion(version), s.Etcd); err != nil {
		e.t.Fatal(err)
	}
	m.Link(layout.RoleLink(s.Etcd), "../"+version)
	e.start(m, s)
}

// start does what systemd and etcd do.
func (e *severalEtcds) start(m *severalMachine, s layout.Slot) {
	restarted(m.Host, "systemctl restart "+layout.Unit(s.Etcd))
	link, err := os.Readlink(m.At(layout.RoleLink(s.Etcd)))
	if err != nil || e.broken && filepath.Base(link) == e.to {
		return
	}
	id, err := e.member(m, s)
	if err != nil {
		e.t.Logf("%s of %s does not start: %v", s.Etcd, m.Hostname(), err)
		return
	}
	m.Write(s.EtcdData()+"/member/wal/0.wal", fmt.Sprint(id))
	m.nodes[s].Set(func(n *etcdtest.Node) { n.ID, n.Down = id, false })
	e.server.Start(s.Member(m.Hostname()), s.PeerURL(m.HostIP))
}

// member is the ID that an etcd starts with: that of its log, or that of the cluster which it
// starts or joins.
func (e *severalEtcds) member(m *severalMachine, s layout.Slot) (uint64, error) {
	env, _ := os.ReadFile(m.At(s.EtcdEnv()))
	_, initial, _ := strings.Cut(string(env), "ETCD_INITIAL_CLUSTER=")
	isNew := strings.Contains(string(env), "STATE=new")
	known := e.server.List()
	at := func(is func(*pb.Member) bool) (uint64, bool) {
		i := slices.IndexFunc(known, is)
		if i < 0 {
			return 0, false
		}
		return known[i].ID, true
	}
	if log, err := os.ReadFile(m.At(s.EtcdData() + "/member/wal/0.wal")); err == nil {
		id, _ := strconv.ParseUint(string(log), 10, 64)
		if _, found := at(func(one *pb.Member) bool { return one.ID == id }); !found {
			e.second = true
			return 0, errors.New("the member was removed")
		}
		return id, nil
	}
	if isNew {
		e.second = e.second || len(known) > 0
		return e.server.Add(s.Member(m.Hostname()), s.PeerURL(m.HostIP)), nil
	}
	for _, one := range known {
		if !strings.Contains(initial, "="+one.PeerURLs[0]) || strings.Count(initial, "=") != len(known) {
			return 0, fmt.Errorf("member count is unequal: %s", initial)
		}
	}
	id, found := at(func(one *pb.Member) bool { return one.PeerURLs[0] == s.PeerURL(m.HostIP) })
	if !found {
		return 0, errors.New("it is no member")
	}
	return id, nil
}

func (e *severalEtcds) run(ctx context.Context, m *severalMachine, run func(context.Context, machine.Command) (string, error), c machine.Command) (string, error) {
	if strings.Contains(c.Script, "systemd-run") {
		return "", e.replace(m, c.Script)
	}
	out, err := run(ctx, c)
	for _, s := range layout.Slots() {
		switch unit := layout.Unit(s.Etcd); {
		case err != nil:
		case strings.Contains(c.Script, "systemctl restart "+unit):
			e.start(m, s)
		case strings.Contains(c.Script, "systemctl stop "+unit):
			m.Units[unit] = inspecttest.Unit{State: "inactive"}
			m.nodes[s].Set(func(n *etcdtest.Node) { n.Down = true })
		}
	}
	return out, err
}

// replace does what replace-etcd.sh does; its own test runs the script.
func (e *severalEtcds) replace(m *severalMachine, script string) error {
	_, arguments, _ := strings.Cut(script, "replace-etcd.sh ")
	f := strings.Fields(arguments)
	s := layout.SlotA
	if f[0] == "b" {
		s = layout.SlotB
	}
	if e.broken {
		return &machine.CommandError{Host: m.Hostname(), Code: 1, Output: "etcd of " + f[1] + " does not serve"}
	}
	m.Link(layout.RoleLink(s.Etcd), "../"+strings.Trim(f[1], "'"))
	e.server.Version = cmp.Or(etcdVersions[pai.KubernetesVersion(strings.Trim(f[1], "'"))], e.server.Version)
	e.start(m, s)
	return nil
}

func (e *severalEtcds) deps() Deps {
	hosts := map[string]machine.Host{}
	for name, m := range e.machines {
		hosts[name] = m
	}
	return Deps{Config: e.cfg, Hosts: hosts, Progress: e.t.Logf, Kubeadm: func(context.Context, []byte, string) (string, error) {
		return string(kubeadmSays(e.t, versions[pai.KubernetesVersion(e.to).Label()], "etcd.yaml")), nil
	}}
}

// step runs a step unless it is done, and reports whether it is done then.
func (e *severalEtcds) step(kind plan.Kind, target string) (bool, error) {
	doer := Doers(e.deps())[kind]
	s := plan.Step{Kind: kind, Target: target, To: pai.AnyVersion(e.to)}
	if done, err := doer.Done(e.t.Context(), s); err != nil || done {
		return done, err
	}
	if err := doer.Do(e.t.Context(), s); err != nil {
		return false, err
	}
	return doer.Done(e.t.Context(), s)
}

// members are the names of the members, with "?" for one that never started, and "*" for a
// learner.
func (e *severalEtcds) members() string {
	var names []string
	for _, m := range e.server.List() {
		names = append(names, cmp.Or(m.Name, "?")+map[bool]string{true: "*"}[m.IsLearner])
	}
	return strings.Join(names, " ")
}

// learner adds a learner in a slot; with an empty name it never started.
func (e *severalEtcds) learner(id uint64, name, at string, s layout.Slot) {
	e.server.Members = append(e.server.Members, &pb.Member{ID: id, Name: name, PeerURLs: []string{s.PeerURL(e.machines[at].HostIP)}, IsLearner: true})
}
