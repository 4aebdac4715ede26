package etcd

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/layout"
)

// HandoverTarget is the slot that a handover on a machine was moving etcd to,
// according to the members: the only one of the machine, or the one that is a
// learner. If both vote, both have all data.
func (l Members) HandoverTarget(m config.Machine) layout.Slot {
	for _, s := range layout.Slots() {
		if l.At(m, s) == nil {
			return s.Other()
		}
	}
	for _, s := range layout.Slots() {
		if l.At(m, s).Learner {
			return s
		}
	}
	return layout.SlotB
}

// Unready is the member in the other slot of a machine, if it never became a
// voter while the slot to keep did. To remove it is the rollback of an
// interrupted handover.
func (l Members) Unready(m config.Machine, keep layout.Slot) *Member {
	removable := l.Removable(m, keep)
	if one := removable.At(m, keep.Other()); one != nil && (one.Name == "" || one.Learner) {
		return one
	}
	return nil
}

// InitialCluster names all members for an etcd without data in a slot of a
// machine, as etcd requires: NAME=URL,…, its own last
func (l Members) InitialCluster(m config.Machine, s layout.Slot) string {
	var others, own []string
	for _, one := range l {
		for _, url := range one.Peers {
			if url == s.PeerURL(m.HostIP) {
				own = append(own, s.Member(m.Hostname)+"="+url)
			} else {
				others = append(others, cmp.Or(one.Name, fmt.Sprintf("member-%x", one.ID))+"="+url) // etcd does not compare names
			}
		}
	}
	slices.Sort(others)
	return strings.Join(append(others, own...), ",")
}

// AddLearner adds a slot of a machine as a member that does not vote, through
// the etcd in its other slot. It returns all members.
func (c *Client) AddLearner(ctx context.Context, m config.Machine, s layout.Slot) (Members, error) {
	return c.addLearner(ctx, s.Other(), m, s)
}

func (c *Client) addLearner(ctx context.Context, via layout.Slot, m config.Machine, s layout.Slot) (Members, error) {
	return ask(ctx, c, via, callTimeout, "add a learner to the members", func(ctx context.Context, etcd *clientv3.Client) (Members, error) {
		added, err := etcd.MemberAddAsLearner(ctx, []string{s.PeerURL(m.HostIP)})
		if err != nil {
			return nil, err
		}
		return membersFrom(added.Members), nil
	})
}

// Promote makes the learner in a slot of a machine a voter, through the etcd in
// its other slot. etcd refuses until the learner has caught up.
func (c *Client) Promote(ctx context.Context, learner Member, s layout.Slot) error {
	return c.promote(ctx, s.Other(), learner)
}

func (c *Client) promote(ctx context.Context, via layout.Slot, learner Member) error {
	_, err := ask(ctx, c, via, callTimeout, fmt.Sprintf("promote member %x", learner.ID), func(ctx context.Context, etcd *clientv3.Client) (any, error) {
		return etcd.MemberPromote(ctx, learner.ID)
	})
	return err
}

// MoveLeader moves the leadership from one slot of a machine to the other, if
// it is there. A leader on another machine stays.
func (c *Client) MoveLeader(ctx context.Context, m config.Machine, to layout.Slot) error {
	members, err := c.List(ctx, to)
	if err != nil {
		return err
	}
	old, own := members.Voter(m, to.Other()), members.Voter(m, to)
	if old == nil || own == nil {
		return fmt.Errorf("move the leadership to %s on %q: it does not vote with %s; the members are %s", to.Etcd, m.Hostname, to.Other().Etcd, members)
	}
	status, err := c.Status(ctx, to)
	if err != nil {
		return err
	}
	switch status.Leader {
	case 0:
		return fmt.Errorf("move the leadership to %s on %q: etcd has no leader", to.Etcd, m.Hostname)
	case old.ID:
		// Only the leader accepts this request.
		_, err = ask(ctx, c, to.Other(), callTimeout, fmt.Sprintf("move the leadership to %x", own.ID), func(ctx context.Context, etcd *clientv3.Client) (any, error) {
			return etcd.MoveLeader(ctx, own.ID)
		})
	}
	return err
}
