package etcd

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"pai.dev/pai/internal/fence"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/poll"
	"pai.dev/pai/test/etcdtest"
)

// startServer is a host whose two slots are a test server.
func startServer(t *testing.T, s *etcdtest.Server) *etcdtest.Host {
	t.Helper()
	p := etcdtest.NewPKI(t)
	h := etcdtest.NewHost("m1", p)
	s.Serve(t, h, p)
	return h
}

// health asks once, with a client for it.
func health(ctx context.Context, t *testing.T, h machine.Host, s layout.Slot) error {
	t.Helper()
	c, err := Open(ctx, h)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.Health(ctx, s)
}

func openClient(t *testing.T, h *etcdtest.Host) *Client {
	t.Helper()
	c, err := Open(t.Context(), h)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// An operation that has lost the lock of the cluster changes no member.
func TestRequestsNeedTheLock(t *testing.T) {
	t.Parallel()
	c := openClient(t, startServer(t, &etcdtest.Server{Asked: 1, Leader: 1, Members: []*pb.Member{{ID: 1, Name: "m1-a"}}}))
	lost := errors.New("the lock is lost")
	ctx := fence.With(t.Context(), fence.Fence{Held: func() error { return lost }})
	if err := c.Health(ctx, layout.SlotA); !errors.Is(err, lost) {
		t.Errorf("got %v, want %v", err, lost)
	}
	if err := c.Health(t.Context(), layout.SlotA); err != nil {
		t.Error(err)
	}
}

func TestClientReadsMembersAndStatus(t *testing.T) {
	t.Parallel()
	h := startServer(t, &etcdtest.Server{Asked: 1, Leader: 1, Alarms: []pb.AlarmType{pb.AlarmType_NOSPACE, pb.AlarmType_CORRUPT},
		Members: []*pb.Member{{ID: 1, Name: "m1-a", PeerURLs: []string{"https://10.0.0.1:2380"}}, {ID: 7, PeerURLs: []string{"https://10.0.0.1:2390"}, IsLearner: true}}})
	o, err := ReadOverview(t.Context(), h, layout.SlotA)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(o.Alarms, " "); got != "NOSPACE CORRUPT" {
		t.Errorf("got alarms %q", got)
	}
	if len(o.Members) != 2 || o.Members[0].Name != "m1-a" || o.Members[0].Learner || !o.Members[1].Learner || o.Members[1].Name != "" || o.Members[1].Peers[0] != "https://10.0.0.1:2390" {
		t.Errorf("got members %+v", o.Members)
	}
	s := o.Status
	if s.Member != 1 || s.Leader != 1 || s.Version != "3.6.8" || s.Revision != 7 || s.Index != 9 || s.Applied != 8 || s.Size != 20480 || s.Used != 16384 || s.Quota != 2<<30 || len(s.Errors) != 1 {
		t.Errorf("got status %+v", s)
	}
	if members, err := ListMembers(t.Context(), h); err != nil || len(members) != 2 {
		t.Errorf("got %v, %v, want the members of the slot that responds", members, err)
	}
	if n := h.OpenConnections(); n != 0 {
		t.Errorf("%d connections are still open", n)
	}
}

func TestHealthNeedsAQuorumAndNoAlarm(t *testing.T) {
	t.Parallel()
	if err := health(t.Context(), t, startServer(t, &etcdtest.Server{}), layout.SlotB); err != nil {
		t.Errorf("got %v, want healthy", err)
	}
	full := startServer(t, &etcdtest.Server{Alarms: []pb.AlarmType{pb.AlarmType_NOSPACE}})
	if err := health(t.Context(), t, full, layout.SlotB); err == nil || !strings.Contains(err.Error(), "NOSPACE") {
		t.Errorf("got %v, want the alarm", err)
	}
	ctx, cancel := context.WithTimeoutCause(t.Context(), 300*time.Millisecond, errors.New("the test asked long enough"))
	defer cancel()
	if err := health(ctx, t, startServer(t, &etcdtest.Server{Hangs: true}), layout.SlotB); err == nil || !strings.Contains(err.Error(), "long enough") {
		t.Errorf("got %v, want the end of the context", err)
	}
}

// A slot without etcd must not use up the time of the one that responds.
func TestStoppedEtcdFailsAtOnce(t *testing.T) {
	t.Parallel()
	h := startServer(t, &etcdtest.Server{Members: []*pb.Member{{ID: 1}}})
	delete(h.Ports, layout.SlotA.EtcdClientPort)
	c := openClient(t, h)
	_, err := c.List(t.Context(), layout.SlotA)
	if err == nil || errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "connection refused") || !strings.Contains(err.Error(), `etcd-a on "m1"`) {
		t.Errorf("got %v, want that etcd-a on m1 refuses the connection", err)
	}
	if members, err := c.ListAny(t.Context(), layout.SlotA, layout.SlotB); err != nil || len(members) != 1 {
		t.Errorf("got %v, %v, want the members that the other slot lists", members, err)
	}
}

// A foreign voter that does not run costs the quorum. It must be seen then, too.
func TestMembersWithoutQuorumAreListed(t *testing.T) {
	t.Parallel()
	h := startServer(t, &etcdtest.Server{Alone: true, Members: []*pb.Member{{ID: 1, Name: "m1-a"}, {ID: 9, PeerURLs: []string{"https://10.0.0.9:2380"}}}})
	if members, err := ListMembers(t.Context(), h); err != nil || len(members) != 2 || members[1].ID != 9 {
		t.Errorf("got %v, %v, want both members", members, err)
	}
	if _, err := openClient(t, h).List(t.Context(), layout.SlotA); err == nil {
		t.Error("got members for a change, want an error without a quorum")
	}
	clear(h.Ports)
	if _, err := ListMembers(t.Context(), h); err == nil {
		t.Error("got members without an etcd, want an error")
	}
}

// A slot whose etcd starts later is found without a new client.
func TestClientFindsAnEtcdThatStarts(t *testing.T) {
	t.Parallel()
	p := etcdtest.NewPKI(t)
	h := etcdtest.NewHost("m1", p)
	c := openClient(t, h)
	if _, err := c.List(t.Context(), layout.SlotA); err == nil {
		t.Fatal("an etcd that does not run has listed its members")
	}
	(&etcdtest.Server{Members: []*pb.Member{{ID: 1}}}).Serve(t, h, p)
	if members, err := c.AwaitList(t.Context(), time.Minute, layout.SlotA); err != nil || len(members) != 1 {
		t.Errorf("got %v, %v", members, err)
	}
}

// Whatever ends, the request or the step, no connection attempt stays behind.
func TestDialEndsWithItsContext(t *testing.T) {
	t.Parallel()
	h := etcdtest.NewHost("m1", etcdtest.NewPKI(t))
	h.Hangs = make(chan error, 100)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c, err := Open(ctx, h)
	if err != nil {
		t.Fatal(err)
	}
	short, end := context.WithTimeout(ctx, 100*time.Millisecond)
	defer end()
	if _, err := c.List(short, layout.SlotA); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the end of the request", err)
	}
	cancel() // the step ends without Close
	select {
	case err := <-h.Hangs: // its own time limit would end it, too
		if !errors.Is(err, context.Canceled) {
			t.Errorf("the connection attempt ended with %v, want the end of its step", err)
		}
	case <-time.After(time.Minute):
		t.Error("a connection attempt continues after its step has ended")
	}
	if _, err := c.List(ctx, layout.SlotA); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that the step has ended", err)
	}
	c.Close()
}

func TestCloseClosesConnections(t *testing.T) {
	t.Parallel()
	h := startServer(t, &etcdtest.Server{Members: []*pb.Member{{ID: 1}}})
	for _, how := range []string{"Close", "the end of the context"} {
		ctx, cancel := context.WithCancel(t.Context())
		c, err := Open(ctx, h)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range layout.Slots() {
			if _, err := c.List(ctx, s); err != nil {
				t.Fatal(err)
			}
		}
		if n := h.OpenConnections(); n != 2 {
			t.Errorf("got %d connections, want one per slot", n)
		}
		if how == "Close" {
			c.Close()
		}
		cancel()
		wait := poll.Wait{For: "no connection after " + how, Timeout: 10 * time.Second, Every: 5 * time.Millisecond}
		if err := wait.Until(t.Context(), func(context.Context) (bool, error) { return h.OpenConnections() == 0, nil }); err != nil {
			t.Error(err)
		}
		c.Close()
	}
}

func TestCredentialsStayOutOfErrors(t *testing.T) {
	t.Parallel()
	p := etcdtest.NewPKI(t)
	secret := strings.Split(string(p.Key), "\n")[1]
	for name, change := range map[string]func(h *etcdtest.Host, dir string){
		"no key": func(h *etcdtest.Host, dir string) { delete(h.Files, dir+"healthcheck-client.key") },
		"broken key": func(h *etcdtest.Host, dir string) {
			h.Files[dir+"healthcheck-client.key"] = []byte("-----BEGIN EC PRIVATE KEY-----\n" + secret)
		},
		"another key":     func(h *etcdtest.Host, dir string) { h.Files[dir+"healthcheck-client.crt"] = p.CA },
		"key for cert":    func(h *etcdtest.Host, dir string) { h.Files[dir+"healthcheck-client.crt"] = p.Key },
		"key for a CA":    func(h *etcdtest.Host, dir string) { h.Files[dir+"ca.crt"] = p.Key },
		"no certificates": func(h *etcdtest.Host, dir string) { clear(h.Files) },
	} {
		h := etcdtest.NewHost("m1", p)
		change(h, layout.PKIDir+"/etcd/")
		_, err := Open(t.Context(), h)
		if err == nil || strings.Contains(err.Error(), secret) || !strings.Contains(err.Error(), `"m1"`) {
			t.Errorf("%s: got %v", name, err)
		}
		if strings.HasPrefix(name, "no ") && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: got %v, want that the file does not exist", name, err)
		}
	}
}

// The files are read once, and again only if the first attempt failed.
func TestCertificatesAreReadOnce(t *testing.T) {
	t.Parallel()
	h := startServer(t, &etcdtest.Server{})
	var all Certificates
	files := h.Files
	h.Files = nil
	if _, err := all.Open(t.Context(), h); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("got %v, want that the files do not exist", err)
	}
	h.Files = files
	for range 2 {
		c, err := all.Open(t.Context(), h)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Health(t.Context(), layout.SlotA); err != nil {
			t.Error(err)
		}
		c.Close()
		h.Files = nil
	}
	other := etcdtest.NewHost("m2", etcdtest.NewPKI(t))
	other.Files = nil
	if _, err := all.Open(t.Context(), other); err == nil {
		t.Error("another machine has got the certificate of the first")
	}
}

func TestEtcdMustProveItsCertificate(t *testing.T) {
	t.Parallel()
	h := startServer(t, &etcdtest.Server{})
	h.Files[layout.PKIDir+"/etcd/ca.crt"] = etcdtest.NewPKI(t).CA
	if err := health(t.Context(), t, h, layout.SlotA); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("got %v, want that the certificate is refused", err)
	}
}
