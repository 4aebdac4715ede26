package cluster

import (
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"pai.dev/pai/internal/layout"
)

// A rollback to an etcd of an older minor has the data rewritten first, and ends the
// downgrade before the older etcd joins, wherever an earlier attempt was killed.
func TestEtcdRollbackToOlderMinor(t *testing.T) {
	t.Parallel()
	const peerB = "https://10.9.0.11:2390"
	a := voter(1, "pai-1-a", "https://10.9.0.11:2380")
	learner := func() *pb.Member {
		m := voter(2, "", peerB)
		m.IsLearner = true
		return m
	}
	for _, c := range []struct {
		name            string
		learner         *pb.Member
		storage, target string
		enabled         int // how often a downgrade is enabled
	}{
		{"from the start", nil, "3.7.0", "", 1},
		{"after the downgrade was enabled", nil, "3.7.0", "3.6.0", 0},
		{"after the data was rewritten", nil, "3.6.0", "3.6.0", 0},
		{"after the learner was added", learner(), "3.6.0", "3.6.0", 0},
		{"after the downgrade ended", learner(), "3.6.0", "", 0},
		{"after a learner for the newer minor was added", learner(), "3.7.0", "", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			members := []*pb.Member{voter(a.ID, a.Name, a.PeerURLs[0])}
			if c.learner != nil {
				members = append(members, c.learner)
			}
			e := newEtcdMachineOf(t, "v0.11-pai", "v0.10-pai", members...)
			e.etcd.Storage, e.etcd.Target, e.etcd.Rewrites = c.storage, c.target, 3
			if done, err := e.step(); err != nil || !done {
				t.Fatalf("got done %v, %v; members %v", done, err, e.etcd.Members)
			}
			if len(e.etcd.Members) != 1 || e.etcd.Members[0].Name != "pai-1-b" || e.etcd.Members[0].IsLearner {
				t.Errorf("got members %v, want slot b", e.etcd.Members)
			}
			if e.etcd.Target != "" || e.etcd.Enabled != c.enabled {
				t.Errorf("got downgrade to %q, enabled %d times, want none left and %d times", e.etcd.Target, e.etcd.Enabled, c.enabled)
			}
			if !e.Ran("systemctl restart " + layout.Unit(layout.SlotB.Etcd)) {
				t.Error("slot b was not started")
			}
		})
	}
}

// An upgrade, and a handover within a minor, enable no downgrade, and end one that a
// killed rollback left enabled.
func TestEtcdUpgradeEndsDowngrade(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ from, to, target string }{
		{"v0.10-pai", "v0.11-pai", ""}, {"v0.10-pai", "v0.9-pai", ""}, {"v0.11-pai", "v0.11-pai+0123456789ab", "3.6.0"},
	} {
		t.Run(c.from+" to "+c.to, func(t *testing.T) {
			e := newEtcdMachineOf(t, c.from, c.to, voter(1, "pai-1-a", "https://10.9.0.11:2380"))
			e.etcd.Target = c.target
			if done, err := e.step(); err != nil || !done {
				t.Fatalf("got done %v, %v", done, err)
			}
			if e.etcd.Target != "" || e.etcd.Enabled != 0 {
				t.Errorf("got downgrade to %q, enabled %d times, want none", e.etcd.Target, e.etcd.Enabled)
			}
		})
	}
}
