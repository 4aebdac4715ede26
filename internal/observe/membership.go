package observe

import (
	"context"
	"errors"
	"slices"
	"sync"

	"pai.dev/pai/internal/cluster"
	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/etcd"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/plan"
)

// readMembers reads the members of etcd, through the machine that stands for the cluster or,
// if no etcd answers there, through another control-plane machine.
func readMembers(ctx context.Context, src Source) (etcd.Members, error) {
	names := []string{src.seed()}
	for _, m := range src.Config.ControlPlanes() {
		if m.Hostname != src.seed() {
			names = append(names, m.Hostname)
		}
	}
	var failed []error
	for _, name := range names {
		host := src.Hosts[name]
		if host == nil {
			continue
		}
		members, err := etcd.ListMembers(ctx, host)
		if err == nil {
			return members, nil
		}
		failed = append(failed, err)
	}
	return nil, errors.Join(failed...)
}

// addMemberships says what each machine is in etcd, where several machines can be members. If
// the members are unknown, a machine that has the data of one is a stopped member, and of
// another one nothing is known, unless no machine has any.
func addMemberships(w *plan.World, src Source, members etcd.Members, err error, withData map[string]bool) {
	if len(src.Config.ControlPlanes()) < 2 && !onSeveralMachines(members, src.Config.Layout.MachineList) {
		return
	}
	for i, m := range src.Config.Layout.MachineList {
		w.Machines[i].Member = membershipOf(m, members, err, withData)
	}
}

func membershipOf(m config.Machine, members etcd.Members, err error, withData map[string]bool) plan.Membership {
	if err == nil {
		found := plan.MemberNone
		for _, s := range layout.Slots() {
			switch one := members.At(m, s); {
			case one != nil && !one.Learner:
				return plan.MemberVoter
			case one != nil:
				found = plan.MemberLearner
			}
		}
		return found
	}
	has, known := withData[m.Hostname]
	switch {
	case !m.IsControlPlane():
		return plan.MemberNone
	case has:
		return plan.MemberStopped
	case known && allAreEmpty(withData):
		return plan.MemberNone
	default:
		return plan.MemberUnknown
	}
}

func onSeveralMachines(members etcd.Members, list []config.Machine) bool {
	n := 0
	for _, m := range list {
		if slices.ContainsFunc(layout.Slots(), func(s layout.Slot) bool { return members.At(m, s) != nil }) {
			n++
		}
	}
	return n > 1
}

func allAreEmpty(withData map[string]bool) bool {
	for _, has := range withData {
		if has {
			return false
		}
	}
	return true
}

// etcdData reports which of several control-plane machines have the data of a member. One that
// is not in the result is unknown.
func etcdData(ctx context.Context, src Source) map[string]bool {
	found := map[string]bool{}
	list := src.Config.ControlPlanes()
	if len(list) < 2 {
		return found
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, m := range list {
		host := src.Hosts[m.Hostname]
		if host == nil {
			continue
		}
		wg.Go(func() {
			has, err := cluster.HasEtcdData(ctx, host)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				found[m.Hostname] = has
			}
		})
	}
	wg.Wait()
	return found
}
