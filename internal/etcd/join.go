package etcd

import (
	"context"
	"fmt"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/poll"
)

// joinTimeout is how long etcd can refuse a learner. It does so until its members have
// been connected for five seconds (etcd 3.6, HealthInterval, "unhealthy cluster").
const joinTimeout = 90 * time.Second

// Of are the members in the slots of a machine, started or not.
func (l Members) Of(m config.Machine) (own Members) {
	for _, one := range l {
		if i, _ := one.owner([]config.Machine{m}); i == 0 {
			own = append(own, one)
		}
	}
	return own
}

// Voters are the members that vote.
func (l Members) Voters() (voters Members) {
	return slices.DeleteFunc(slices.Clone(l), func(one Member) bool { return one.Learner })
}

// VoterOf is a slot of a machine whose etcd votes.
func (l Members) VoterOf(m config.Machine) (layout.Slot, bool) {
	for _, s := range layout.Slots() {
		if l.Voter(m, s) != nil {
			return s, true
		}
	}
	return layout.Slot{}, false
}

// Join adds a slot of a machine as a member that does not vote, through the etcd in a
// slot of the machine of the client, which is another one. It returns all members. A slot
// that is a member already is not added again.
func (c *Client) Join(ctx context.Context, via layout.Slot, m config.Machine, s layout.Slot) (members Members, err error) {
	wait := poll.Wait{For: fmt.Sprintf("etcd on %s to accept a learner on %s", c.host.Name(), m.Hostname), Timeout: joinTimeout, Every: 500 * time.Millisecond}
	err = wait.Until(ctx, func(ctx context.Context) (bool, error) {
		if members, err = c.List(ctx, via); err != nil || members.At(m, s) != nil {
			return err == nil, err
		}
		members, err = c.addLearner(ctx, via, m, s)
		return err == nil, err
	})
	return members, err
}

// PromoteLearner makes a learner of another machine a voter. etcd refuses until the learner
// has caught up.
func (c *Client) PromoteLearner(ctx context.Context, via layout.Slot, learner Member) error {
	return c.promote(ctx, via, learner)
}

// RemoveLearner removes the member in a slot of another machine, if it does not vote. It
// refuses to remove a voter.
func (c *Client) RemoveLearner(ctx context.Context, via layout.Slot, m config.Machine, s layout.Slot) error {
	wait := poll.Wait{For: fmt.Sprintf("etcd without the learner of %s", m.Hostname), Timeout: removeTimeout, Every: 500 * time.Millisecond}
	return wait.Until(ctx, func(ctx context.Context) (bool, error) {
		members, err := c.List(ctx, via)
		if err != nil {
			return false, err
		}
		one := members.At(m, s)
		if one == nil {
			return true, nil
		}
		if !one.Learner || !slices.Equal(one.Peers, []string{s.PeerURL(m.HostIP)}) {
			return false, poll.Final(fmt.Errorf("member %x votes or is not of %q alone, so it is not removed; the members are %s", one.ID, m.Hostname, members))
		}
		_, err = ask(ctx, c, via, callTimeout, fmt.Sprintf("remove member %x", one.ID), func(ctx context.Context, etcd *clientv3.Client) (any, error) {
			return etcd.MemberRemove(ctx, one.ID)
		})
		return err == nil, err
	})
}
