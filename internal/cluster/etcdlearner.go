package cluster

import (
	"context"
	"fmt"
	"strings"
	"time"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/poll"
)

// learnerTimeout is how long a learner has to receive the data and to vote.
const learnerTimeout = 4 * time.Minute

// awaitVoter waits until the new etcd serves as a learner, promotes it, and waits
// until it serves as a voter.
func (e etcdHandover) awaitVoter(ctx context.Context) error {
	restarted := false
	wait := poll.Wait{For: "the new etcd to vote on " + e.h.Name(), Timeout: learnerTimeout, Every: 100 * time.Millisecond}
	return withJournal(ctx, e.h, e.to.Etcd, wait.Until(ctx, func(ctx context.Context) (bool, error) {
		members, err := e.etcd.List(ctx, e.from)
		if err != nil {
			return false, err
		}
		own := members.At(e.m, e.to)
		if own == nil {
			return false, fmt.Errorf("%s is no member; the members are %s", e.to.Etcd, members)
		}
		if own.Learner { // else an earlier attempt has promoted it
			if err := e.etcd.Serves(ctx, e.to); err != nil {
				return false, e.restartLearner(ctx, err, &restarted)
			}
			if err := e.etcd.Promote(ctx, *own, e.to); err != nil {
				return false, err
			}
		}
		err = e.etcd.Health(ctx, e.to)
		return err == nil, err
	}))
}

// restartLearner restarts, once, a learner that has data but does not serve. A
// learner that got its data as a snapshot misses the announcement of its name, and
// serves only after it announces it again, seven seconds later (etcd 3.6: 5 s and
// two election timeouts). If it restarts with the data, it serves at once. A
// learner does not count for the quorum.
func (e etcdHandover) restartLearner(ctx context.Context, silent error, restarted *bool) error {
	if *restarted {
		return silent
	}
	metrics, err := fetch(ctx, e.h, fmt.Sprintf("http://127.0.0.1:%d/metrics", e.to.EtcdMetricsPort), nil, 1<<20)
	if err != nil {
		return err
	}
	if !hasApplied(metrics) {
		return fmt.Errorf("%s has no data yet", e.to.Etcd)
	}
	if _, err := sh(ctx, e.h, "systemctl restart %s", layout.Unit(e.to.Etcd)); err != nil {
		return fmt.Errorf("start %s again with its data: %w", e.to.Etcd, err)
	}
	*restarted = true
	return silent
}

// hasApplied reads from the metrics of etcd whether it has applied a log entry or
// a snapshot.
func hasApplied(metrics []byte) bool {
	for line := range strings.Lines(string(metrics)) {
		if value, found := strings.CutPrefix(line, "etcd_server_proposals_applied_total "); found {
			return strings.TrimSpace(value) != "0"
		}
	}
	return false
}
