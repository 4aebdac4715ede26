package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/poll"
)

// member is a member of etcd. One that never started has no name.
type member struct {
	ID      uint64   `json:"ID"`
	Name    string   `json:"name"`
	Peers   []string `json:"peerURLs"`
	Learner bool     `json:"isLearner"`
}

type memberList []member

func listMembers(ctx context.Context, h machine.Host, v pai.KubernetesVersion, asked ...layout.Slot) (memberList, error) {
	out, err := sh(ctx, h, "%s --dial-timeout=2s --command-timeout=4s member list -w json", etcdctl(v, asked...))
	if err != nil {
		return nil, fmt.Errorf("list the etcd members: %w", err)
	}
	return parseMembers([]byte(out))
}

// anyMembers asks the slots one at a time, because a stopped or new one does not
// respond.
func anyMembers(ctx context.Context, h machine.Host, v pai.KubernetesVersion, asked ...layout.Slot) (memberList, error) {
	var errs []error
	for _, s := range asked {
		members, err := listMembers(ctx, h, v, s)
		if err == nil {
			return members, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// awaitMembers is anyMembers for etcds that have just started or pause: it asks
// until one of them lists the members.
func awaitMembers(ctx context.Context, h machine.Host, v pai.KubernetesVersion, asked ...layout.Slot) (members memberList, err error) {
	wait := poll.Wait{For: "an etcd on " + h.Name() + " to list its members", Timeout: healthTimeout, Every: 500 * time.Millisecond}
	err = wait.Until(ctx, func(ctx context.Context) (ok bool, err error) {
		members, err = anyMembers(ctx, h, v, asked...)
		return len(members) > 0, err
	})
	for _, s := range asked {
		err = withJournal(ctx, h, s.Etcd, err)
	}
	return members, err
}

// removeMember removes a member through the etcd of a slot. etcd refuses that until
// its members have been connected for five seconds (etcd 3.6, HealthInterval,
// "unhealthy cluster"), so removeMember tries again.
func removeMember(ctx context.Context, h machine.Host, v pai.KubernetesVersion, asked layout.Slot, id uint64) error {
	wait := poll.Wait{For: fmt.Sprintf("etcd on %s without its member %x", h.Name(), id), Timeout: healthTimeout, Every: 500 * time.Millisecond}
	return wait.Until(ctx, func(ctx context.Context) (bool, error) {
		members, err := listMembers(ctx, h, v, asked)
		if err != nil || members.find(func(m member) bool { return m.ID == id }) == nil {
			return err == nil, err
		}
		_, err = sh(ctx, h, "%s member remove %x >/dev/null", etcdctl(v, asked), id)
		return err == nil, err
	})
}

func parseMembers(data []byte) (memberList, error) {
	var list struct {
		Members memberList `json:"members"`
	}
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, fmt.Errorf("read the etcd members: %w", err)
	}
	return list.Members, nil
}

func (l memberList) named(name string) *member {
	return l.find(func(m member) bool { return m.Name == name })
}

func (l memberList) withPeer(url string) *member {
	return l.find(func(m member) bool { return slices.Contains(m.Peers, url) })
}

func (l memberList) find(is func(member) bool) *member {
	if i := slices.IndexFunc(l, is); i >= 0 {
		return &l[i]
	}
	return nil
}

func (l memberList) String() string {
	var names []string
	for _, m := range l {
		names = append(names, fmt.Sprintf("%q %x", m.Name, m.ID))
	}
	return strings.Join(names, ", ")
}
