package etcd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/etcd/quorum"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
)

// surveyTimeout limits the questions to one machine. An etcd that needs longer for one of
// them is not healthy.
const surveyTimeout = 10 * time.Second

// Survey asks the etcds of all control-plane machines what they report about themselves
// and their members, each through the connection to its machine, in parallel. hosts are
// the machines by name. What it cannot observe is unknown in the result.
func (c *Certificates) Survey(ctx context.Context, machines []config.Machine, hosts map[string]machine.Host) quorum.State {
	answers := make([]surveyed, len(machines))
	var asked sync.WaitGroup
	for i, m := range machines {
		asked.Go(func() { answers[i] = c.survey(ctx, m, hosts[m.Hostname]) })
	}
	asked.Wait()
	var errs []error
	for _, a := range answers {
		if len(a.members) > 0 {
			return stateOf(a.members, machines, answers)
		}
		errs = append(errs, a.err)
	}
	err := errors.Join(errs...)
	if err == nil {
		err = errors.New("no control-plane machine was asked")
	}
	return quorum.State{Unknown: err.Error()}
}

// surveyed is what one machine reports.
type surveyed struct {
	members Members // nil if none of its etcds lists them
	slots   map[layout.Slot]slotReport
	err     error // why members is nil, and why slots has no report
}

// slotReport is what the etcd in a slot reports about itself.
type slotReport struct {
	status    Status
	unhealthy error // includes alarms
	err       error // why the status is unknown
}

func (c *Certificates) survey(ctx context.Context, m config.Machine, h machine.Host) surveyed {
	if h == nil {
		return surveyed{err: fmt.Errorf("machine %q is unreachable", m.Hostname)}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, surveyTimeout, fmt.Errorf("no response within %s", surveyTimeout))
	defer cancel()
	client, err := c.Open(ctx, h)
	if err != nil {
		return surveyed{err: err}
	}
	defer client.Close()
	found := surveyed{slots: map[layout.Slot]slotReport{}}
	for _, s := range layout.Slots() {
		report := client.report(ctx, s)
		found.slots[s] = report
		if report.err != nil || found.members != nil {
			found.err = errors.Join(found.err, report.err)
			continue
		}
		found.members, err = client.List(ctx, s)
		found.err = errors.Join(found.err, err)
	}
	return found
}

func (c *Client) report(ctx context.Context, s layout.Slot) (r slotReport) {
	if r.status, r.err = c.Status(ctx, s); r.err != nil {
		return r
	}
	r.unhealthy = c.Health(ctx, s)
	return r
}

// stateOf joins the list of the members with the report of each of them.
func stateOf(members Members, machines []config.Machine, answers []surveyed) (state quorum.State) {
	for _, one := range members {
		found := quorum.Member{ID: one.ID, Name: one.Name, Learner: one.Learner, Unknown: "it never started"}
		i, slot := one.owner(machines)
		if i < 0 {
			found.Unknown = "it belongs to no control-plane machine"
			state.Members = append(state.Members, found)
			continue
		}
		found.Machine = machines[i].Hostname
		if one.Name != "" {
			answers[i].fill(&found, slot)
		}
		state.Members = append(state.Members, found)
	}
	return state
}

// owner is the machine in whose slot a member is; -1 for none.
func (one Member) owner(machines []config.Machine) (int, layout.Slot) {
	for i, m := range machines {
		for _, s := range layout.Slots() {
			if slices.Equal(one.Peers, []string{s.PeerURL(m.HostIP)}) && (one.Name == "" || one.Name == s.Member(m.Hostname)) {
				return i, s
			}
		}
	}
	return -1, layout.Slot{}
}

// fill fills in what the etcd in a slot reports about itself.
func (a surveyed) fill(m *quorum.Member, s layout.Slot) {
	r, asked := a.slots[s]
	switch {
	case !asked:
		m.Unknown = a.err.Error()
	case r.err != nil:
		m.Unknown = r.err.Error()
	case r.status.Member != m.ID:
		m.Unknown = fmt.Sprintf("member %x answers in its slot", r.status.Member)
	default:
		m.Unknown = ""
		m.Cluster, m.Leader, m.Term, m.Index, m.Applied = r.status.Cluster, r.status.Leader, r.status.Term, r.status.Index, r.status.Applied
		if r.unhealthy != nil && !m.Learner {
			m.Unhealthy = r.unhealthy.Error()
		}
	}
}
