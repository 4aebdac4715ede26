package cluster

import (
	"context"
	"fmt"
	"strings"
	"time"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/etcd"
	"pai.dev/pai/internal/etcd/quorum"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/poll"
)

const (
	// votersTimeout is how long the learners have to catch up, and then all voters to agree.
	votersTimeout = 4 * time.Minute
	// learnerLag is how many entries of the log a learner can be behind when it is promoted.
	learnerLag = 100
)

// votersDone reports whether the etcd of every control-plane machine votes, and all agree.
func (c *cluster) votersDone(ctx context.Context, _ machine.Host, _ config.Machine, _ plan.Step) (bool, error) {
	state := c.etcds.Survey(ctx, c.Config.ControlPlanes(), c.Hosts)
	return c.allVote(state) == nil && state.Settled() == nil, nil // unknown is not done
}

// voters promotes the learners of all control-plane machines, one right after the other, and
// waits until all voters agree. It promotes none before all of them have caught up: two
// voters stop when either of them does.
func (c *cluster) voters(ctx context.Context, h machine.Host, _ config.Machine, _ plan.Step) error {
	client, err := c.etcds.Open(ctx, h)
	if err != nil {
		return err
	}
	defer client.Close()
	via, members, err := listAny(ctx, client)
	if err != nil {
		return err
	}
	if err := c.awaitLearners(ctx, members); err != nil {
		return err
	}
	for _, one := range c.learners(members) {
		wait := poll.Wait{For: fmt.Sprintf("etcd to promote %q", one.Name), Timeout: learnerTimeout, Every: 100 * time.Millisecond}
		if err := wait.Until(ctx, func(ctx context.Context) (bool, error) { return c.promote(ctx, client, via, one) }); err != nil {
			return err
		}
	}
	wait := poll.Wait{For: "all voters of etcd to agree", Timeout: votersTimeout, Every: 500 * time.Millisecond}
	return wait.Until(ctx, func(ctx context.Context) (bool, error) {
		state := c.etcds.Survey(ctx, c.Config.ControlPlanes(), c.Hosts)
		if err := c.allVote(state); err != nil {
			return false, err
		}
		err := state.Settled()
		return err == nil, err
	})
}

// promote reports whether a learner votes. It asks first: the answer to an earlier request
// can have been lost.
func (c *cluster) promote(ctx context.Context, client *etcd.Client, via layout.Slot, one etcd.Member) (bool, error) {
	err := client.PromoteLearner(ctx, via, one)
	if err == nil {
		return true, nil
	}
	members, errList := client.List(ctx, via)
	for _, now := range members {
		if now.ID == one.ID {
			return !now.Learner, err
		}
	}
	if errList == nil {
		return false, poll.Final(fmt.Errorf("promote %q: it is no member any more; the members are %s", one.Name, members))
	}
	return false, err
}

// awaitLearners waits until every control-plane machine has a member that votes or has
// caught up.
func (c *cluster) awaitLearners(ctx context.Context, members etcd.Members) error {
	var missing []string
	for _, m := range c.Config.ControlPlanes() {
		if len(members.Of(m)) == 0 {
			missing = append(missing, m.Hostname)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("no learner of etcd was promoted: %s has not joined; the members are %s", strings.Join(missing, ", "), members)
	}
	wait := poll.Wait{For: "the learners of etcd to catch up", Timeout: votersTimeout, Every: 200 * time.Millisecond}
	return wait.Until(ctx, func(ctx context.Context) (bool, error) {
		return true, caughtUp(c.etcds.Survey(ctx, c.Config.ControlPlanes(), c.Hosts))
	})
}

// caughtUp returns an error that names the learners that are unknown or behind.
func caughtUp(state quorum.State) error {
	if state.Unknown != "" {
		return fmt.Errorf("the members of etcd are unknown: %s", state.Unknown)
	}
	var newest uint64
	for _, m := range state.Members {
		newest = max(newest, m.Index)
	}
	var behind []string
	for _, m := range state.Members {
		switch {
		case !m.Learner:
		case m.Unknown != "":
			behind = append(behind, fmt.Sprintf("the learner %q is unknown: %s", m.Name, m.Unknown))
		case m.Applied+learnerLag <= newest:
			behind = append(behind, fmt.Sprintf("the learner %q is %d entries of the log behind", m.Name, newest-m.Applied))
		}
	}
	if len(behind) > 0 {
		return fmt.Errorf("%s", strings.Join(behind, "; "))
	}
	return nil
}

// learners are the members of control-plane machines that do not vote.
func (c *cluster) learners(members etcd.Members) (found etcd.Members) {
	for _, m := range c.Config.ControlPlanes() {
		for _, one := range members.Of(m) {
			if one.Learner {
				found = append(found, one)
			}
		}
	}
	return found
}

// allVote returns an error that names the control-plane machines without a voter.
func (c *cluster) allVote(state quorum.State) error {
	votes := map[string]bool{}
	for _, m := range state.Members {
		votes[m.Machine] = votes[m.Machine] || !m.Learner
	}
	var missing []string
	for _, m := range c.Config.ControlPlanes() {
		if !votes[m.Hostname] {
			missing = append(missing, m.Hostname)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("etcd has no voter on %s", strings.Join(missing, ", "))
	}
	return nil
}

// listAny lists the members through the slot that responds.
func listAny(ctx context.Context, client *etcd.Client) (layout.Slot, etcd.Members, error) {
	var err error
	for _, s := range layout.Slots() {
		var members etcd.Members
		if members, err = client.List(ctx, s); err == nil {
			return s, members, nil
		}
	}
	return layout.Slot{}, nil, err
}
