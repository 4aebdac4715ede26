package cluster

import (
	"context"
	"fmt"
	"time"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/etcd"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/poll"
)

// etcdJoin adds the etcd of a machine, of version v, as a learner to the members of other
// machines. The step of the voters promotes it. If it is killed, the next run continues from
// the members, the data, and the unit that it finds.
type etcdJoin struct {
	*cluster
	etcd   *etcd.Client // of the machine that joins
	others elsewhere
	h      machine.Host
	m      config.Machine
	v      pai.KubernetesVersion
	limit  time.Duration // until the learner serves
}

func (e etcdJoin) run(ctx context.Context) error {
	slot := e.slot()
	if err := e.renderRole(ctx, e.h, e.m, e.v, slot.Etcd); err != nil {
		return err
	}
	members, err := e.addMember(ctx, slot)
	if err != nil {
		return err
	}
	if err := writeMembership(ctx, e.h, slot, stateExisting, members.InitialCluster(e.m, slot)); err != nil {
		return err
	}
	state, err := roleState(ctx, e.h, slot.Etcd)
	if err != nil {
		return err
	}
	has, err := hasWAL(ctx, e.h, slot)
	if err != nil {
		return err
	}
	if !startedAs(state, e.v) || !has {
		if err := moveAndRestart(ctx, e.h, slot.Etcd, e.v); err != nil {
			return err
		}
	}
	if err := e.awaitLearner(ctx, slot, members.InitialCluster(e.m, slot)); err != nil {
		return e.abandon(ctx, slot, err)
	}
	return nil
}

// slot is where the etcd joins: slot a, unless the other one is a learner already.
func (e etcdJoin) slot() layout.Slot {
	if e.others.members.At(e.m, layout.SlotB) != nil {
		return layout.SlotB
	}
	return layout.SlotA
}

// addMember makes the slot a learner that has its data, or that has none. A member whose
// data are not there, and data without a member, do not belong together: the member is
// added again, and the data are kept elsewhere.
func (e etcdJoin) addMember(ctx context.Context, slot layout.Slot) (etcd.Members, error) {
	own := e.others.members.At(e.m, slot)
	has, err := hasWAL(ctx, e.h, slot)
	if err != nil {
		return nil, err
	}
	if own != nil && (own.Name != "") == has {
		return e.others.members, e.dropData(ctx, slot.Other())
	}
	state, err := roleState(ctx, e.h, slot.Etcd)
	if err != nil {
		return nil, err
	}
	if own != nil && startedAs(state, e.v) {
		return e.others.members, nil // it starts: others learn its name later
	}
	if own != nil {
		if err := e.others.client.RemoveLearner(ctx, e.others.via, e.m, slot); err != nil {
			return nil, err
		}
	}
	for _, s := range layout.Slots() {
		if err := e.dropData(ctx, s); err != nil {
			return nil, err
		}
	}
	return e.others.client.Join(ctx, e.others.via, e.m, slot)
}

// dropData stops the etcd of a slot that is no member, and renames its data, so that no etcd
// starts with them again. A member that was removed must not come back.
func (e etcdJoin) dropData(ctx context.Context, s layout.Slot) error {
	there, err := sh(ctx, e.h, "[ ! -e %s ] || echo unit", layout.UnitFile(s.Etcd))
	if err != nil {
		return fmt.Errorf("look for %s on %q: %w", s.Etcd, e.h.Name(), err)
	}
	if there != "" { // a machine that never had an etcd has no unit to stop
		if err := stopRole(ctx, e.h, s.Etcd); err != nil {
			return err
		}
	}
	out, err := sh(ctx, e.h, `rm -f %[1]s
sync %[2]s
%[3]s
[ -d %[4]s/member ] || exit 0
n=1
while [ -e %[4]s.former-$n ]; do n=$((n + 1)); done
mv -T %[4]s %[4]s.former-$n
sync %[5]s
echo %[4]s.former-$n`, s.EtcdEnv(), layout.ConfigDir, syncUnits, s.EtcdData(), layout.EtcdDir)
	if err != nil {
		return fmt.Errorf("rename the data of %s on %q, which is no member: %w", s.Etcd, e.h.Name(), err)
	}
	if out != "" {
		e.Progress("%s on %s was no member; its data are in %s, which nothing reads and you can delete", s.Etcd, e.h.Name(), out)
	}
	return removeLink(ctx, e.h, s.Etcd)
}

// awaitLearner waits until the etcd serves as a learner. An etcd without data starts only with
// exactly the members that there are. They change if another machine joins at the same time,
// so initial, which its file has, is written again. The unit starts it again by itself.
func (e etcdJoin) awaitLearner(ctx context.Context, slot layout.Slot, initial string) error {
	restarted := false
	handover := etcdHandover{cluster: e.cluster, etcd: e.etcd, h: e.h, m: e.m, from: slot.Other(), to: slot, v: e.v}
	wait := poll.Wait{For: fmt.Sprintf("etcd on %s to serve as a learner", e.h.Name()), Timeout: e.limit, Every: 200 * time.Millisecond}
	return wait.Until(ctx, func(ctx context.Context) (bool, error) {
		members, err := e.others.client.List(ctx, e.others.via)
		if err != nil {
			return false, err
		}
		if members.At(e.m, slot) == nil {
			return false, poll.Final(fmt.Errorf("%s on %q is no member any more; the members are %s", slot.Etcd, e.h.Name(), members))
		}
		if now := members.InitialCluster(e.m, slot); now != initial {
			if err := writeMembership(ctx, e.h, slot, stateExisting, now); err != nil {
				return false, err
			}
			initial = now
		}
		if err := e.etcd.Serves(ctx, slot); err != nil {
			return false, handover.restartLearner(ctx, err, &restarted)
		}
		if members.Started(e.m, slot) == nil {
			return false, fmt.Errorf("%s on %q has not announced its name", slot.Etcd, e.h.Name())
		}
		return true, nil
	})
}

// abandon removes a learner that does not serve: while it is a member, etcd takes no other
// one. If the operator stopped the wait, the next run continues with the learner.
func (e etcdJoin) abandon(ctx context.Context, slot layout.Slot, cause error) error {
	err := withJournal(ctx, e.h, slot.Etcd, cause)
	if ctx.Err() != nil {
		return err
	}
	if removed := e.others.client.RemoveLearner(ctx, e.others.via, e.m, slot); removed != nil {
		return fmt.Errorf("%w; its member was not removed: %w", err, removed)
	}
	if dropped := e.dropData(ctx, slot); dropped != nil {
		return fmt.Errorf("%w; its member was removed, and its data were not renamed: %w", err, dropped)
	}
	return fmt.Errorf("%w; its member was removed again", err)
}
