//go:build e2e

package etcd

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/poll"
	"pai.dev/pai/test/kubetest"
)

// storageSettled waits until the data has the form of a minor.
func (m *realMachine) storageSettled(s layout.Slot, minor string) {
	m.t.Helper()
	c := m.client()
	m.await("data of etcd "+minor, func(ctx context.Context) error {
		status, err := c.Status(ctx, s)
		if err == nil && (Minor(status.Storage) != minor || status.Downgrade != "") {
			err = fmt.Errorf("the data has the form of %q, downgrade to %q", status.Storage, status.Downgrade)
		}
		return err
	})
}

// keepWriting writes a key every few milliseconds through either slot, as an API
// server does. A learner that received a snapshot counts as far behind until another
// entry arrives. stop returns how many writes were confirmed.
func (m *realMachine) keepWriting(prefix string) (stop func() int) {
	ctx, cancel := context.WithCancel(m.t.Context())
	c, written := m.client(), make(chan int)
	go func() {
		n := 0
		for ctx.Err() == nil {
			for _, s := range layout.Slots() {
				once, done := context.WithTimeout(ctx, time.Second)
				_, err := c.slots[s].Put(once, fmt.Sprintf("%s%d", prefix, n), "x")
				done()
				if err == nil {
					n++
					break
				}
			}
			_ = poll.Sleep(ctx, 5*time.Millisecond)
		}
		written <- n
	}()
	return func() int {
		cancel()
		return <-written
	}
}

// An upgrade from etcd 3.6 to 3.7 and its rollback, twice: no confirmed write is
// lost, and a lease stays.
func TestHandoverBetweenMinors(t *testing.T) {
	t.Parallel()
	older, newer := kubetest.Etcd(t, "3.6"), kubetest.Etcd(t, "3.7")
	for _, keys := range []int{50, 6000} { // with few, the whole log is there; with many, it was compacted
		t.Run(fmt.Sprintf("%d keys", keys), func(t *testing.T) {
			t.Parallel()
			m := newMachines(t, 1)[0]
			m.programs = older
			m.start(layout.SlotA, "new", layout.SlotA.Member(m.Hostname)+"="+layout.SlotA.PeerURL(m.HostIP))
			m.await("etcd", func(ctx context.Context) error { return health(ctx, t, m, layout.SlotA) })
			c := m.client()
			for i := range keys {
				if _, err := c.slots[layout.SlotA].Put(t.Context(), fmt.Sprintf("/registry/pods/%d", i), strings.Repeat("x", 100)); err != nil {
					t.Fatal(err)
				}
			}
			lease, err := c.slots[layout.SlotA].Grant(t.Context(), 3600)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.slots[layout.SlotA].Put(t.Context(), "/registry/leased", "x", clientv3.WithLease(lease.ID)); err != nil {
				t.Fatal(err)
			}
			for i := range 2 {
				prefix := fmt.Sprintf("/registry/leases/%d/", i)
				stop := m.keepWriting(prefix)
				m.programs = newer
				m.handover(layout.SlotB)
				m.storageSettled(layout.SlotB, "3.7")
				m.programs = older
				m.handoverAs(layout.SlotA, "3.6")
				m.storageSettled(layout.SlotA, "3.6")
				written := stop()
				all, err := c.Keys(t.Context(), layout.SlotA, "/registry/pods/")
				if err != nil || len(all) != keys {
					t.Fatalf("got %d keys, %v, want %d", len(all), err, keys)
				}
				// One more can be stored without its confirmation.
				recent, err := c.Keys(t.Context(), layout.SlotA, prefix)
				if err != nil || written == 0 || len(recent) < written || len(recent) > written+1 {
					t.Fatalf("got %d keys, %v, want the %d confirmed ones", len(recent), err, written)
				}
			}
			if left, err := c.slots[layout.SlotA].TimeToLive(t.Context(), lease.ID); err != nil || left.TTL < 3000 {
				t.Errorf("got lease %+v, %v", left, err)
			}
			// It starts again with its data, as after a reboot of the machine.
			m.stop(layout.SlotA)
			m.start(layout.SlotA, "existing", layout.SlotA.Member(m.Hostname)+"="+layout.SlotA.PeerURL(m.HostIP))
			m.await("etcd after a restart", func(ctx context.Context) error { return health(ctx, t, m, layout.SlotA) })
		})
	}
}

// Without a downgrade, and while one is enabled, a learner of the older minor does
// not start. These are the two reasons for the order in a rollback.
func TestOlderLearnerIsRefused(t *testing.T) {
	t.Parallel()
	older, newer := kubetest.Etcd(t, "3.6"), kubetest.Etcd(t, "3.7")
	for name, downgrade := range map[string]bool{"without a downgrade": false, "while enabled": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMachines(t, 1)[0]
			m.programs = newer
			m.start(layout.SlotA, "new", layout.SlotA.Member(m.Hostname)+"="+layout.SlotA.PeerURL(m.HostIP))
			m.await("etcd", func(ctx context.Context) error { return health(ctx, t, m, layout.SlotA) })
			m.storageSettled(layout.SlotA, "3.7")
			c := m.client()
			if downgrade {
				if err := c.Downgrade(t.Context(), layout.SlotA, "3.6"); err != nil {
					t.Fatal(err)
				}
			}
			var members Members
			m.await("a learner", func(ctx context.Context) (err error) {
				members, err = c.AddLearner(ctx, m.Machine, layout.SlotB)
				return err
			})
			m.programs = older
			m.start(layout.SlotB, "existing", members.InitialCluster(m.Machine, layout.SlotB))
			wait := poll.Wait{For: "the learner to be refused", Timeout: time.Minute, Every: 100 * time.Millisecond}
			err := wait.Until(t.Context(), func(context.Context) (bool, error) {
				log, err := os.ReadFile(filepath.Join(m.dir, layout.SlotB.Name+".log"))
				return strings.Contains(string(log), "incompatible with current running cluster"), err
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Health(t.Context(), layout.SlotA); err != nil {
				t.Error(err)
			}
		})
	}
}

// A rollback was killed after the downgrade was enabled, and an upgrade follows.
func TestNewerLearnerAfterDowngrade(t *testing.T) {
	t.Parallel()
	older, newer := kubetest.Etcd(t, "3.6"), kubetest.Etcd(t, "3.7")
	m := newMachines(t, 1)[0]
	m.programs = newer
	m.start(layout.SlotA, "new", layout.SlotA.Member(m.Hostname)+"="+layout.SlotA.PeerURL(m.HostIP))
	m.await("etcd", func(ctx context.Context) error { return health(ctx, t, m, layout.SlotA) })
	m.storageSettled(layout.SlotA, "3.7")
	c := m.client()
	if err := c.Downgrade(t.Context(), layout.SlotA, "3.6"); err != nil {
		t.Fatal(err)
	}
	m.handover(layout.SlotB) // 3.7 again
	m.storageSettled(layout.SlotB, "3.7")
	m.programs = older
	m.handoverAs(layout.SlotA, "3.6")
	m.storageSettled(layout.SlotA, "3.6")
}
