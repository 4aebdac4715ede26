package cluster

import (
	"context"
	"fmt"
	"strings"
	"time"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/poll"
)

// awaitLearner waits until the new etcd serves as a learner. A learner that got
// its data as a snapshot misses the announcement of its name, and serves only
// after it announces it again, seven seconds later (etcd 3.6: 5 s and two election
// timeouts). If it restarts with the data, it serves at once. A learner does not
// count for the quorum.
func awaitLearner(ctx context.Context, h machine.Host, m config.Machine, from, to layout.Slot, v pai.KubernetesVersion) error {
	restarted := false
	wait := poll.Wait{For: "the new etcd to serve as a learner on " + h.Name(), Timeout: promoteTimeout, Every: 200 * time.Millisecond}
	return withJournal(ctx, h, to.Etcd, wait.Until(ctx, func(ctx context.Context) (bool, error) {
		members, err := listMembers(ctx, h, v, from)
		if err != nil {
			return false, err
		}
		switch own := members.withPeer(to.PeerURL(m.HostIP)); {
		case own == nil:
			return false, fmt.Errorf("it is not a member")
		case !own.Learner:
			return true, nil // an earlier run has promoted it
		}
		silent := etcdServes(ctx, h, to)
		if silent == nil || restarted {
			return silent == nil, silent
		}
		metrics, err := fetch(ctx, h, fmt.Sprintf("http://127.0.0.1:%d/metrics", to.EtcdMetricsPort), nil, 1<<20)
		if err != nil {
			return false, err
		}
		if !hasApplied(metrics) {
			return false, fmt.Errorf("it has no data yet")
		}
		if _, err := sh(ctx, h, "systemctl restart %s", layout.Unit(to.Etcd)); err != nil {
			return false, fmt.Errorf("start it again with its data: %w", err)
		}
		restarted = true
		return false, nil
	}))
}

// etcdServes asks the etcd of a slot whether it accepts requests. A learner
// reports no more than that.
func etcdServes(ctx context.Context, h machine.Host, s layout.Slot) error {
	_, err := sh(ctx, h, "%s/bin/%s --dial-timeout=1s --command-timeout=1s endpoint status >/dev/null", layout.RoleLink(s.Etcd), etcdctlArgs(s))
	return err
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
