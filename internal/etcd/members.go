package etcd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/poll"
)

// Member is a member of etcd. One that never started has no name.
type Member struct {
	ID      uint64
	Name    string
	Peers   []string // the URLs for the other members
	Learner bool     // it does not vote
}

// Members are all members, in the order of etcd.
type Members []Member

// ListMembers lists the members that a control-plane machine knows. It asks the
// etcd of either slot. Without a quorum, which a member that does not run can
// cost, it lists what such an etcd has stored.
func ListMembers(ctx context.Context, h machine.Host) (Members, error) {
	c, err := Open(ctx, h)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	members, err := c.ListAny(ctx, layout.Slots()...)
	if err == nil {
		return members, nil
	}
	for _, s := range layout.Slots() {
		if stored, errStored := c.list(ctx, s, clientv3.WithSerializable()); errStored == nil {
			return stored, nil
		}
	}
	return nil, err
}

// List asks the etcd in a slot for the members. It needs a quorum.
func (c *Client) List(ctx context.Context, s layout.Slot) (Members, error) { return c.list(ctx, s) }

func (c *Client) list(ctx context.Context, s layout.Slot, options ...clientv3.OpOption) (Members, error) {
	return ask(ctx, c, s, callTimeout, "list the members", func(ctx context.Context, etcd *clientv3.Client) (Members, error) {
		list, err := etcd.MemberList(ctx, options...)
		if err != nil {
			return nil, err
		}
		return membersFrom(list.Members), nil
	})
}

// ListAny asks the slots one at a time, because a stopped or new one does not
// respond.
func (c *Client) ListAny(ctx context.Context, slots ...layout.Slot) (Members, error) {
	var errs []error
	for _, s := range slots {
		members, err := c.List(ctx, s)
		if err == nil {
			return members, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// AwaitList is ListAny for etcds that have just started or pause: it asks until
// one of them lists the members.
func (c *Client) AwaitList(ctx context.Context, timeout time.Duration, slots ...layout.Slot) (members Members, err error) {
	wait := poll.Wait{For: "an etcd on " + c.host.Name() + " to list its members", Timeout: timeout, Every: 500 * time.Millisecond}
	err = wait.Until(ctx, func(ctx context.Context) (ok bool, err error) {
		members, err = c.ListAny(ctx, slots...)
		return len(members) > 0, err
	})
	return members, err
}

func membersFrom(list []*pb.Member) Members {
	var members Members
	for _, m := range list {
		members = append(members, Member{ID: m.ID, Name: m.Name, Peers: m.PeerURLs, Learner: m.IsLearner})
	}
	return members
}

// Started is the member in a slot of a machine, if it has started: its name and
// its address are those of the slot.
func (l Members) Started(m config.Machine, s layout.Slot) *Member {
	return l.find(func(one Member) bool {
		return one.Name == s.Member(m.Hostname) && slices.Contains(one.Peers, s.PeerURL(m.HostIP))
	})
}

// Voter is Started for a member that votes.
func (l Members) Voter(m config.Machine, s layout.Slot) *Member {
	if one := l.Started(m, s); one != nil && !one.Learner {
		return one
	}
	return nil
}

// At is the member with the address of a slot of a machine, started or not.
func (l Members) At(m config.Machine, s layout.Slot) *Member {
	return l.find(func(one Member) bool { return slices.Contains(one.Peers, s.PeerURL(m.HostIP)) })
}

// Settled reports whether a machine has one member, which is a voter in this
// slot. Members of other machines do not matter.
func (l Members) Settled(m config.Machine, s layout.Slot) bool {
	other := s.Other()
	return l.Voter(m, s) != nil && l.At(m, other) == nil &&
		l.find(func(one Member) bool { return one.Name == other.Member(m.Hostname) }) == nil
}

// Learners counts the members that do not vote yet.
func (l Members) Learners() (n int) {
	for _, one := range l {
		if one.Learner {
			n++
		}
	}
	return n
}

func (l Members) find(is func(Member) bool) *Member {
	if i := slices.IndexFunc(l, is); i >= 0 {
		return &l[i]
	}
	return nil
}

func (l Members) String() string {
	var names []string
	for _, m := range l {
		names = append(names, fmt.Sprintf("%q %x", m.Name, m.ID))
	}
	return strings.Join(names, ", ")
}
