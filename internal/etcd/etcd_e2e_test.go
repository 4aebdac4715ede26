//go:build e2e

package etcd

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/poll"
	"pai.dev/pai/test/etcdtest"
	"pai.dev/pai/test/kubetest"
)

// realMachine is a machine with a dedicated address on the loopback
// interface, whose slots run the etcd of a bundle.
type realMachine struct {
	config.Machine
	*etcdtest.Host
	t        *testing.T
	dir      string
	programs string
	running  map[layout.Slot]*exec.Cmd
}

// newMachines makes machines with one certificate authority. The addresses
// depend on the process, so that two runs do not meet.
func newMachines(t *testing.T, n int) []*realMachine {
	t.Helper()
	programs := kubetest.Programs(t, "etcd")
	var addresses []string
	for i := range n {
		addresses = append(addresses, fmt.Sprintf("127.%d.%d.%d", 64+os.Getpid()%128, len(t.Name()), i+1))
	}
	p := etcdtest.NewPKI(t, addresses...)
	var machines []*realMachine
	for i, address := range addresses {
		name := fmt.Sprintf("m%d", i+1)
		m := &realMachine{Machine: config.Machine{Hostname: name, HostIP: address}, Host: etcdtest.NewHost(name, p), t: t, dir: t.TempDir(), programs: programs, running: map[layout.Slot]*exec.Cmd{}}
		for name, data := range map[string][]byte{"ca": p.CA, "crt": p.Certificate, "key": p.Key} {
			if err := os.WriteFile(filepath.Join(m.dir, name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for _, s := range layout.Slots() {
			m.Ports[s.EtcdClientPort] = fmt.Sprintf("%s:%d", address, s.EtcdClientPort)
		}
		machines = append(machines, m)
	}
	return machines
}

// start starts the etcd in a slot. The names and addresses are those of
// internal/cluster.
func (m *realMachine) start(s layout.Slot, state, initial string) {
	m.t.Helper()
	file := func(name string) string { return filepath.Join(m.dir, name) }
	log, err := os.Create(file(s.Name + ".log"))
	if err != nil {
		m.t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(filepath.Join(m.programs, "etcd"), "--name="+s.Member(m.Hostname), "--data-dir="+file(s.Name), "--unsafe-no-fsync", "--log-level=warn", "--max-learners=4",
		fmt.Sprintf("--listen-client-urls=https://%s:%d", m.HostIP, s.EtcdClientPort), fmt.Sprintf("--advertise-client-urls=https://%s:%d", m.HostIP, s.EtcdClientPort),
		"--listen-peer-urls="+s.PeerURL(m.HostIP), "--initial-advertise-peer-urls="+s.PeerURL(m.HostIP), "--initial-cluster="+initial, "--initial-cluster-state="+state,
		"--client-cert-auth", "--trusted-ca-file="+file("ca"), "--cert-file="+file("crt"), "--key-file="+file("key"),
		"--peer-client-cert-auth", "--peer-trusted-ca-file="+file("ca"), "--peer-cert-file="+file("crt"), "--peer-key-file="+file("key"))
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	m.running[s] = cmd
	m.t.Cleanup(func() { m.stop(s) })
}

func (m *realMachine) stop(s layout.Slot) {
	if cmd := m.running[s]; cmd != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		delete(m.running, s)
	}
}

func (m *realMachine) client() *Client {
	m.t.Helper()
	c, err := Open(m.t.Context(), m)
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(c.Close)
	return c
}

// await asks until there is no error.
func (m *realMachine) await(what string, ask func(ctx context.Context) error) {
	m.t.Helper()
	wait := poll.Wait{For: what, Timeout: time.Minute, Every: 50 * time.Millisecond}
	if err := wait.Until(m.t.Context(), func(ctx context.Context) (bool, error) { err := ask(ctx); return err == nil, err }); err != nil {
		for _, s := range layout.Slots() {
			log, _ := os.ReadFile(filepath.Join(m.dir, s.Name+".log"))
			m.t.Logf("%s: %s", s.Member(m.Hostname), log[max(0, bytes.LastIndexByte(log[:max(0, len(log)-2000)], '\n')):])
		}
		m.t.Fatal(err)
	}
}

// begin starts machines, each with a voter in slot a.
func begin(t *testing.T, n int) []*realMachine {
	t.Helper()
	machines := newMachines(t, n)
	initial := ""
	for _, m := range machines {
		initial += "," + layout.SlotA.Member(m.Hostname) + "=" + layout.SlotA.PeerURL(m.HostIP)
	}
	for _, m := range machines {
		m.start(layout.SlotA, "new", initial[1:])
	}
	for _, m := range machines {
		m.await("etcd on "+m.Hostname, func(ctx context.Context) error { return health(ctx, t, m, layout.SlotA) })
	}
	return machines
}

// handover does to the members what internal/cluster does.
func (m *realMachine) handover(to layout.Slot) {
	m.t.Helper()
	m.handoverAs(to, "")
}

// handoverAs is handover to an etcd of an older minor, if that is not empty.
func (m *realMachine) handoverAs(to layout.Slot, older string) {
	t, c, from := m.t, m.client(), to.Other()
	t.Helper()
	check := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	// etcd refuses changes until its members have been connected for a while.
	m.await("a learner in slot "+to.Name, func(ctx context.Context) error {
		members, err := c.List(ctx, from)
		if err == nil && members.At(m.Machine, to) == nil {
			if older != "" {
				check("downgrade", c.Downgrade(ctx, from, older))
			}
			_, err = c.AddLearner(ctx, m.Machine, to)
		}
		return err
	})
	check("end the downgrade", c.EndDowngrade(t.Context(), from))
	members, err := c.List(t.Context(), from)
	check("list the members", err)
	if err := os.RemoveAll(filepath.Join(m.dir, to.Name)); err != nil {
		t.Fatal(err)
	}
	m.start(to, "existing", members.InitialCluster(m.Machine, to))
	m.await("the learner to serve", func(ctx context.Context) error { return c.Serves(ctx, to) })
	if err := c.Health(t.Context(), to); err == nil {
		t.Error("a learner is healthy")
	}
	m.await("the learner to catch up", func(ctx context.Context) error {
		return c.Promote(ctx, *members.At(m.Machine, to), to)
	})
	m.await("the voter to serve", func(ctx context.Context) error { return c.Health(ctx, to) })
	check("move the leadership", c.MoveLeader(t.Context(), m.Machine, to))
	members, err = c.List(t.Context(), to)
	check("list the members", err)
	check("remove the old member", c.Remove(t.Context(), m.Machine, to, members.Voter(m.Machine, from).ID))
	m.stop(from)
	check("health", c.Health(t.Context(), to))
	if members, err = c.List(t.Context(), to); err != nil || !members.Settled(m.Machine, to) || members.Settled(m.Machine, from) {
		t.Errorf("got members %s, %v, want only slot %s of %s", members, err, to.Name, m.Hostname)
	}
}

// A handover moves all keys, and back again into the slot that was removed.
func TestHandoverThereAndBack(t *testing.T) {
	t.Parallel()
	m := begin(t, 1)[0]
	c := m.client()
	for i := range 50 {
		if _, err := c.slots[layout.SlotA].Put(t.Context(), fmt.Sprintf("/registry/pods/%d", i), "x"); err != nil {
			t.Fatal(err)
		}
	}
	before, err := c.Keys(t.Context(), layout.SlotA, "/registry/")
	if err != nil || len(before) != 50 {
		t.Fatalf("got %d keys, %v", len(before), err)
	}
	for _, to := range []layout.Slot{layout.SlotB, layout.SlotA} {
		m.handover(to)
		after, err := c.Keys(t.Context(), to, "/registry/")
		if err != nil || len(after) != len(before) {
			t.Fatalf("got %d keys, %v, want %d", len(after), err, len(before))
		}
		for key, want := range before {
			if after[key] != want {
				t.Errorf("%s: got %v, want %v", key, after[key], want)
			}
		}
	}
}

// A handover on one of three machines leaves the members of the others alone.
func TestHandoverBesideOtherMachines(t *testing.T) {
	t.Parallel()
	machines := begin(t, 3)
	m := machines[0]
	members, err := ListMembers(t.Context(), m)
	if err != nil || len(members) != 3 {
		t.Fatalf("got %s, %v, want three members", members, err)
	}
	for _, other := range machines[1:] {
		foreign := members.Voter(other.Machine, layout.SlotA)
		if err := m.client().Remove(t.Context(), m.Machine, layout.SlotA, foreign.ID); err == nil {
			t.Errorf("the member %q of another machine was removed", foreign.Name)
		}
	}
	m.handover(layout.SlotB)
	after, err := ListMembers(t.Context(), machines[2])
	if err != nil || len(after) != 3 {
		t.Fatalf("got %s, %v, want three members", after, err)
	}
	for _, other := range machines[1:] {
		if !after.Settled(other.Machine, layout.SlotA) {
			t.Errorf("got members %s, want the one of %s", after, other.Hostname)
		}
	}
}

// A member that never started blocks nothing and is removed.
func TestUnstartedMemberIsRemoved(t *testing.T) {
	t.Parallel()
	m := begin(t, 1)[0]
	c := m.client()
	members, err := c.AddLearner(t.Context(), m.Machine, layout.SlotB)
	if err != nil {
		t.Fatal(err)
	}
	one := members.Unready(m.Machine, layout.SlotA)
	if one == nil || members.Settled(m.Machine, layout.SlotA) {
		t.Fatalf("got members %+v, want one that never started", members)
	}
	if err := c.Remove(t.Context(), m.Machine, layout.SlotA, one.ID); err != nil {
		t.Fatal(err)
	}
	if members, err := c.List(t.Context(), layout.SlotA); err != nil || !members.Settled(m.Machine, layout.SlotA) {
		t.Errorf("got members %s, %v", members, err)
	}
}

func TestHealthWithoutQuorumAndWithAlarm(t *testing.T) {
	t.Parallel()
	machines := begin(t, 2)
	m := machines[0]
	c := m.client()
	maintenance := pb.NewMaintenanceClient(c.slots[layout.SlotA].ActiveConnection())
	alarm := func(action pb.AlarmRequest_AlarmAction) {
		t.Helper()
		if _, err := maintenance.Alarm(t.Context(), &pb.AlarmRequest{Action: action, Alarm: pb.AlarmType_NOSPACE}); err != nil {
			t.Fatal(err)
		}
	}
	alarm(pb.AlarmRequest_ACTIVATE)
	if o, err := ReadOverview(t.Context(), m, layout.SlotA); err != nil || len(o.Alarms) != 1 || o.Alarms[0] != "NOSPACE" || o.Leader == 0 || o.Size == 0 || o.Quota == 0 {
		t.Errorf("got %+v, %v, want an alarm", o, err)
	}
	if err := c.Health(t.Context(), layout.SlotA); err == nil {
		t.Error("healthy with an alarm")
	}
	alarm(pb.AlarmRequest_DEACTIVATE)
	if err := c.Health(t.Context(), layout.SlotA); err != nil {
		t.Error(err)
	}
	machines[1].stop(layout.SlotA)
	if err := c.Health(t.Context(), layout.SlotA); err == nil {
		t.Error("healthy without a quorum")
	}
	if _, err := c.List(t.Context(), layout.SlotA); err == nil {
		t.Error("members were listed without a quorum")
	}
	if members, err := ListMembers(t.Context(), m); err != nil || len(members) != 2 {
		t.Errorf("got %s, %v, want the stored members without a quorum", members, err)
	}
	if s, err := c.Status(t.Context(), layout.SlotA); err != nil || s.Version == "" {
		t.Errorf("got status %+v, %v, want one without a quorum", s, err)
	}
}
