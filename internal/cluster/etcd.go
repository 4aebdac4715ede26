package cluster

import (
	"context"
	"fmt"
	"strings"
	"time"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/poll"
)

func etcdRole(s layout.Slot) plan.Role { return s.Etcd }

// etcdctl is the command line of the etcdctl of a version, for some slots.
func etcdctl(v pai.KubernetesVersion, asked ...layout.Slot) string {
	return layout.VersionDir(v) + "/bin/" + etcdctlArgs(asked...)
}

func etcdctlArgs(asked ...layout.Slot) string {
	var endpoints []string
	for _, s := range asked {
		endpoints = append(endpoints, fmt.Sprintf("https://127.0.0.1:%d", s.EtcdClientPort))
	}
	return fmt.Sprintf("etcdctl --cacert %[1]s/etcd/ca.crt --cert %[1]s/etcd/healthcheck-client.crt --key %[1]s/etcd/healthcheck-client.key --endpoints %[2]s",
		layout.PKIDir, strings.Join(endpoints, ","))
}

// etcdHealthy asks the etcd of a slot for its health with a request that needs a
// quorum.
func etcdHealthy(ctx context.Context, h machine.Host, s layout.Slot) error {
	_, err := sh(ctx, h, "%s/bin/%s endpoint health >/dev/null", layout.RoleLink(s.Etcd), etcdctlArgs(s))
	return err
}

func (c *cluster) etcdDone(ctx context.Context, h machine.Host, m config.Machine, s plan.Step) (bool, error) {
	states, err := slotStates(ctx, h, etcdRole)
	if err != nil {
		return false, err
	}
	to, from := chooseSlots(states, plan.RoleState{Link: s.To.Kubernetes()})
	if states[to].Link != s.To.Kubernetes() || states[to].Running != s.To.Kubernetes() || states[from].Running != "" || states[from].Link != "" {
		return false, nil
	}
	if err := etcdHealthy(ctx, h, to); err != nil {
		return false, nil
	}
	members, err := listMembers(ctx, h, s.To.Kubernetes(), to)
	if err != nil {
		return false, nil // not responding, so not done
	}
	own := members.named(to.Member(m.Hostname))
	return len(members) == 1 && own != nil && !own.Learner, nil
}

// etcd starts the first etcd, or hands over to one of another version: the other
// slot joins as a learner, is promoted, leads, and the old member is removed. If
// it is killed, the next run continues from the members and units that it finds.
func (c *cluster) etcd(ctx context.Context, h machine.Host, m config.Machine, s plan.Step) error {
	states, err := slotStates(ctx, h, etcdRole)
	if err != nil {
		return err
	}
	to, from := chooseSlots(states, plan.RoleState{Link: s.To.Kubernetes()})
	if states[to].Link == "" && states[from].Link == "" {
		have, err := slotsWithData(ctx, h)
		switch {
		case err != nil:
			return err
		case len(have) == 2:
			return c.recoverHandover(ctx, h, m, s.To.Kubernetes())
		case len(have) == 1:
			to, from = have[0], have[0].Other()
		}
	}
	if states[from].Running == "" && states[from].Link == "" {
		return c.startEtcdAlone(ctx, h, m, to, s.To.Kubernetes())
	}
	return c.handoverEtcd(ctx, h, m, from, to, s.To.Kubernetes())
}

func (c *cluster) startEtcdAlone(ctx context.Context, h machine.Host, m config.Machine, to layout.Slot, v pai.KubernetesVersion) error {
	if err := c.renderRole(ctx, h, m, v, to.Etcd); err != nil {
		return err
	}
	if err := writeMembership(ctx, h, to, "new", to.Member(m.Hostname)+"="+to.PeerURL(m.HostIP)); err != nil {
		return err
	}
	if err := moveAndRestart(ctx, h, to.Etcd, v); err != nil {
		return err
	}
	if err := c.awaitRole(ctx, h, to.Etcd, v); err != nil {
		return err
	}
	return removeUnstartedMembers(ctx, h, m, to, v)
}

// writeMembership writes the members that a slot without data starts with.
func writeMembership(ctx context.Context, h machine.Host, s layout.Slot, state, initial string) error {
	env := fmt.Sprintf("ETCD_INITIAL_CLUSTER_STATE=%s\nETCD_INITIAL_CLUSTER=%s\n", state, initial)
	if _, err := sh(ctx, h, "install -d -m 0700 %s", s.EtcdData()); err != nil {
		return err
	}
	return h.WriteFile(ctx, s.EtcdEnv(), []byte(env), 0o644)
}

// promoteTimeout is how long a learner has to catch up with the data.
const promoteTimeout = 3 * time.Minute

func (c *cluster) handoverEtcd(ctx context.Context, h machine.Host, m config.Machine, from, to layout.Slot, v pai.KubernetesVersion) error {
	members, err := awaitMembers(ctx, h, v, to, from)
	if err != nil {
		return err
	}
	if err := removeUnready(ctx, h, m, from, to, v, members); err != nil {
		return err
	}
	if old := members.named(from.Member(m.Hostname)); old != nil && !old.Learner {
		if err := c.joinEtcd(ctx, h, m, from, to, v, members); err != nil {
			return err
		}
		if err := awaitLearner(ctx, h, m, from, to, v); err != nil {
			return err
		}
		if err := promote(ctx, h, m, from, to, v); err != nil {
			return err
		}
		if err := awaitMember(ctx, h, m, from, to, v); err != nil {
			return err
		}
		if err := c.reconnectAPIServer(ctx, h, m, to); err != nil {
			return err
		}
		if err := replaceLeader(ctx, h, m, from, to, v); err != nil {
			return err
		}
	}
	// The old member was removed; a reboot must not start it again.
	if err := c.awaitRole(ctx, h, to.Etcd, v); err != nil {
		return err
	}
	if err := stopRole(ctx, h, from.Etcd); err != nil {
		return err
	}
	if _, err = sh(ctx, h, "rm -rf %s %s", from.EtcdData(), from.EtcdEnv()); err != nil {
		return fmt.Errorf("remove the data of the old etcd on %q: %w", h.Name(), err)
	}
	return removeLink(ctx, h, from.Etcd)
}

// removeUnready removes a member that never became a voter, if the other member
// is to stay. That is the rollback of an interrupted handover.
func removeUnready(ctx context.Context, h machine.Host, m config.Machine, from, to layout.Slot, v pai.KubernetesVersion, members memberList) error {
	own, old := members.named(to.Member(m.Hostname)), members.withPeer(from.PeerURL(m.HostIP))
	if own == nil || own.Learner || old == nil || (old.Name != "" && !old.Learner) {
		return nil
	}
	if err := removeMember(ctx, h, v, to, old.ID); err != nil {
		return fmt.Errorf("remove the etcd member that did not start: %w", err)
	}
	return nil
}

// joinEtcd adds the new slot as a learner and starts it. Data there without a
// member is old, and is removed first.
func (c *cluster) joinEtcd(ctx context.Context, h machine.Host, m config.Machine, from, to layout.Slot, v pai.KubernetesVersion, members memberList) error {
	if err := c.renderRole(ctx, h, m, v, to.Etcd); err != nil {
		return err
	}
	if members.withPeer(to.PeerURL(m.HostIP)) == nil {
		if err := stopRole(ctx, h, to.Etcd); err != nil {
			return err
		}
		if _, err := sh(ctx, h, "rm -rf %s\n%s member add %s --learner --peer-urls=%s >/dev/null",
			to.EtcdData(), etcdctl(v, from), to.Member(m.Hostname), to.PeerURL(m.HostIP)); err != nil {
			return fmt.Errorf("add the new etcd as a learner: %w", err)
		}
	}
	initial := from.Member(m.Hostname) + "=" + from.PeerURL(m.HostIP) + "," + to.Member(m.Hostname) + "=" + to.PeerURL(m.HostIP)
	if err := writeMembership(ctx, h, to, "existing", initial); err != nil {
		return err
	}
	state, err := roleState(ctx, h, to.Etcd)
	if err != nil {
		return err
	}
	if state.Link == v && state.Running == v {
		return nil
	}
	return moveAndRestart(ctx, h, to.Etcd, v)
}

// promote makes the learner a voting member when etcd reports that it has caught up.
func promote(ctx context.Context, h machine.Host, m config.Machine, from, to layout.Slot, v pai.KubernetesVersion) error {
	wait := poll.Wait{For: "the etcd learner to catch up", Timeout: promoteTimeout, Every: 200 * time.Millisecond}
	return withJournal(ctx, h, to.Etcd, wait.Until(ctx, func(ctx context.Context) (bool, error) {
		members, err := listMembers(ctx, h, v, from)
		if err != nil {
			return false, err
		}
		own := members.withPeer(to.PeerURL(m.HostIP))
		if own == nil {
			return false, fmt.Errorf("the new etcd is no member")
		}
		if !own.Learner {
			return true, nil
		}
		_, err = sh(ctx, h, "%s member promote %x >/dev/null", etcdctl(v, from), own.ID)
		return false, err
	}))
}

// awaitMember waits until the new member serves as a voter.
func awaitMember(ctx context.Context, h machine.Host, m config.Machine, from, to layout.Slot, v pai.KubernetesVersion) error {
	wait := poll.Wait{For: "the new etcd to serve", Timeout: healthTimeout, Every: 100 * time.Millisecond}
	return withJournal(ctx, h, to.Etcd, wait.Until(ctx, func(ctx context.Context) (bool, error) {
		members, err := listMembers(ctx, h, v, from)
		if err != nil {
			return false, err
		}
		if members.named(to.Member(m.Hostname)) == nil {
			return false, fmt.Errorf("the etcd members are %s", members)
		}
		err = etcdHealthy(ctx, h, to)
		return err == nil, err
	}))
}

// replaceLeader moves the leadership to the new member and removes the old one.
func replaceLeader(ctx context.Context, h machine.Host, m config.Machine, from, to layout.Slot, v pai.KubernetesVersion) error {
	members, err := listMembers(ctx, h, v, to)
	if err != nil {
		return err
	}
	old, own := members.named(from.Member(m.Hostname)), members.named(to.Member(m.Hostname))
	if old == nil || own == nil {
		return fmt.Errorf("the etcd members are not the two slots: %s", members)
	}
	// Only the leader accepts move-leader, and the new member might be it already.
	_, err = sh(ctx, h, `
leader=$(%s endpoint status -w fields | sed -n 's/^"Leader" : //p')
[ "$leader" = "%d" ] || %s move-leader %x >/dev/null`,
		etcdctl(v, to), own.ID, etcdctl(v, from), own.ID)
	if err != nil {
		return fmt.Errorf("move the etcd leadership: %w", err)
	}
	if err := removeMember(ctx, h, v, to, old.ID); err != nil {
		return fmt.Errorf("remove the old etcd member: %w", err)
	}
	return nil
}
