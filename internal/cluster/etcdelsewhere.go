package cluster

import (
	"context"
	"fmt"
	"strings"
	"time"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/etcd"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
)

// otherControlPlanes are the configured control-plane machines without one.
func (c *cluster) otherControlPlanes(m config.Machine) (others []config.Machine) {
	for _, one := range c.Config.ControlPlanes() {
		if one.Hostname != m.Hostname {
			others = append(others, one)
		}
	}
	return others
}

// elsewhereTimeout limits the questions to one other control-plane machine.
const elsewhereTimeout = 15 * time.Second

// elsewhere is what the other control-plane machines report of etcd.
type elsewhere struct {
	members etcd.Members // nil if no etcd of another machine lists them
	// client and via are the etcd that lists them: a voter, with a quorum.
	client *etcd.Client
	via    layout.Slot
	// unknown are the machines that could not be asked, with the reasons. withData are those
	// with data of etcd. Both are empty if members is set.
	unknown  []string
	withData []config.Machine
}

// close closes the connections.
func (e elsewhere) close() {
	if e.client != nil {
		e.client.Close()
	}
}

// etcdElsewhere asks the other control-plane machines, one at a time, until an etcd lists
// the members.
func (c *cluster) etcdElsewhere(ctx context.Context, m config.Machine) (e elsewhere) {
	for _, other := range c.otherControlPlanes(m) {
		h := c.Hosts[other.Hostname]
		if h == nil {
			e.unknown = append(e.unknown, other.Hostname+" is unreachable")
			continue
		}
		if found, ok := c.membersOn(ctx, h); ok {
			return found
		}
		hasData, err := servedEtcd(ctx, h)
		switch {
		case err != nil:
			e.unknown = append(e.unknown, fmt.Sprintf("%s: %v", other.Hostname, err))
		case hasData:
			e.withData = append(e.withData, other)
		}
	}
	return e
}

// membersOn lists the members through an etcd of a machine, if one does so within
// elsewhereTimeout. A learner does not.
func (c *cluster) membersOn(ctx context.Context, h machine.Host) (e elsewhere, ok bool) {
	client, err := c.etcds.Open(ctx, h)
	if err != nil {
		return e, false // no certificate, so no etcd
	}
	limited, cancel := context.WithTimeout(ctx, elsewhereTimeout)
	defer cancel()
	for _, s := range layout.Slots() {
		if members, err := client.List(limited, s); err == nil && len(members) > 0 {
			return elsewhere{members: members, client: client, via: s}, true
		}
	}
	client.Close()
	return e, false
}

// servedEtcd reports whether etcd served on a machine: it has its data, or the file of its
// first membership says that its cluster exists.
func servedEtcd(ctx context.Context, h machine.Host) (bool, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, elsewhereTimeout, fmt.Errorf("no answer within %s", elsewhereTimeout))
	defer cancel()
	out, err := sh(ctx, h, `for s in %[1]s %[2]s; do [ ! -d "$s/member" ] || echo data; done
! grep -sq '^ETCD_INITIAL_CLUSTER_STATE=%[3]s' %[4]s %[5]s || echo data`,
		layout.SlotA.EtcdData(), layout.SlotB.EtcdData(), stateExisting, layout.SlotA.EtcdEnv(), layout.SlotB.EtcdEnv())
	if err != nil {
		return false, fmt.Errorf("look for etcd's data on %q: %w", h.Name(), err)
	}
	return strings.Contains(out, "data"), nil
}

// hasWAL reports whether a slot has the log of an etcd that has run.
func hasWAL(ctx context.Context, h machine.Host, s layout.Slot) (bool, error) {
	out, err := sh(ctx, h, "! ls %s/member/wal/*.wal >/dev/null 2>&1 || echo yes", s.EtcdData())
	if err != nil {
		return false, fmt.Errorf("look for the data of %s on %q: %w", s.Etcd, h.Name(), err)
	}
	return out == "yes", nil
}
