package cluster

import (
	"context"
	"fmt"
	"strings"
	"time"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/poll"
)

// learnerTimeout is how long a learner has to receive the data.
const learnerTimeout = 3 * time.Minute

// awaitLearner waits until the new etcd serves as a learner. A learner that got
// its data as a snapshot misses the announcement of its name, and serves only
// after it announces it again, seven seconds later (etcd 3.6: 5 s and two election
// timeouts). If it restarts with the data, it serves at once. A learner does not
// count for the quorum.
func (e etcdHandover) awaitLearner(ctx context.Context) error {
	restarted := false
	wait := poll.Wait{For: "the new etcd to serve as a learner on " + e.h.Name(), Timeout: learnerTimeout, Every: 200 * time.Millisecond}
	return withJournal(ctx, e.h, e.to.Etcd, wait.Until(ctx, func(ctx context.Context) (bool, error) {
		members, err := e.etcd.List(ctx, e.from)
		if err != nil {
			return false, err
		}
		switch own := members.At(e.m, e.to); {
		case own == nil:
			return false, fmt.Errorf("it is not a member")
		case !own.Learner:
			return true, nil // an earlier run has promoted it
		}
		silent := e.etcd.Serves(ctx, e.to)
		if silent == nil || restarted {
			return silent == nil, silent
		}
		metrics, err := fetch(ctx, e.h, fmt.Sprintf("http://127.0.0.1:%d/metrics", e.to.EtcdMetricsPort), nil, 1<<20)
		if err != nil {
			return false, err
		}
		if !hasApplied(metrics) {
			return false, fmt.Errorf("it has no data yet")
		}
		if _, err := sh(ctx, e.h, "systemctl restart %s", layout.Unit(e.to.Etcd)); err != nil {
			return false, fmt.Errorf("start it again with its data: %w", err)
		}
		restarted = true
		return false, nil
	}))
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
