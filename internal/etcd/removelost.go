package etcd

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/poll"
)

// OfLost are the members of a machine that is in no configuration any more, by their names, and
// learners that never started, unless a machine of the configuration has their address.
func (l Members) OfLost(machine string, configured []config.Machine) (lost Members) {
	for _, one := range l {
		owned := slices.ContainsFunc(configured, func(m config.Machine) bool { return len(Members{one}.Of(m)) > 0 })
		named := slices.ContainsFunc(layout.Slots(), func(s layout.Slot) bool { return one.Name == s.Member(machine) })
		if !owned && (named || one.Name == "" && one.Learner) {
			lost = append(lost, one)
		}
	}
	return lost
}

// Addresses are the hosts at which other members reach these.
func (l Members) Addresses() (hosts []string) {
	for _, one := range l {
		for _, peer := range one.Peers {
			if u, err := url.Parse(peer); err == nil && !slices.Contains(hosts, u.Hostname()) {
				hosts = append(hosts, u.Hostname())
			}
		}
	}
	return hosts
}

// RemoveLost removes the members of a machine that is lost, through the etcd in a slot of another
// machine. The caller has asked whether the others have a quorum.
func (c *Client) RemoveLost(ctx context.Context, via layout.Slot, machine string, configured []config.Machine) error {
	wait := poll.Wait{For: "etcd without the member of " + machine, Timeout: removeTimeout, Every: 500 * time.Millisecond}
	return wait.Until(ctx, func(ctx context.Context) (bool, error) {
		members, err := c.List(ctx, via)
		if err != nil {
			return false, err
		}
		lost := members.OfLost(machine, configured)
		if len(lost) == 0 {
			return true, nil
		}
		_, err = ask(ctx, c, via, callTimeout, fmt.Sprintf("remove member %x", lost[0].ID), func(ctx context.Context, etcd *clientv3.Client) (any, error) {
			return etcd.MemberRemove(ctx, lost[0].ID)
		})
		return false, err
	})
}
