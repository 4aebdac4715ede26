package etcd

import (
	"context"
	"fmt"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/poll"
)

// downgradeTimeout is how long etcd has to rewrite its data for an older minor. The
// leader looks every four seconds, and each member may need a second attempt.
const downgradeTimeout = time.Minute

// Minor is the minor version of etcd that "v3.7.3" or "3.7.0" belongs to, "3.7";
// empty if it is not a version.
func Minor(version string) string {
	parts := strings.Split(strings.TrimPrefix(version, "v"), ".")
	if len(parts) < 2 {
		return ""
	}
	return parts[0] + "." + parts[1]
}

// Downgrade makes etcd store its data as the minor before, so that a member of that
// minor can join. It waits until the etcd in a slot reports it. Every member must be
// running, because the leader asks all of them for their versions.
func (c *Client) Downgrade(ctx context.Context, s layout.Slot, minor string) error {
	wait := poll.Wait{For: fmt.Sprintf("the data of %s on %s in the form of etcd %s", s.Etcd, c.host.Name(), minor), Timeout: downgradeTimeout, Every: 200 * time.Millisecond}
	return wait.Until(ctx, func(ctx context.Context) (bool, error) {
		status, err := c.Status(ctx, s)
		switch {
		case err != nil:
			return false, err
		case Minor(status.Storage) == minor:
			return true, nil
		case Minor(status.Downgrade) == minor:
			return false, fmt.Errorf("it has the form of etcd %s", Minor(status.Storage))
		case status.Downgrade != "":
			return false, c.downgrade(ctx, s, pb.DowngradeRequest_CANCEL, "")
		default:
			return false, c.downgrade(ctx, s, pb.DowngradeRequest_ENABLE, minor)
		}
	})
}

// EndDowngrade lets new members join again: while a downgrade is enabled, etcd
// refuses members of both minors. The data keeps its form as long as a member is
// older, or has not started.
func (c *Client) EndDowngrade(ctx context.Context, s layout.Slot) error {
	wait := poll.Wait{For: fmt.Sprintf("the end of the downgrade of %s on %s", s.Etcd, c.host.Name()), Timeout: removeTimeout, Every: 200 * time.Millisecond}
	return wait.Until(ctx, func(ctx context.Context) (bool, error) {
		status, err := c.Status(ctx, s)
		if err != nil || status.Downgrade == "" {
			return err == nil, err
		}
		return false, c.downgrade(ctx, s, pb.DowngradeRequest_CANCEL, "")
	})
}

func (c *Client) downgrade(ctx context.Context, s layout.Slot, action pb.DowngradeRequest_DowngradeAction, minor string) error {
	what := strings.ToLower(action.String()) + " the downgrade"
	_, err := ask(ctx, c, s, callTimeout, what, func(ctx context.Context, etcd *clientv3.Client) (any, error) {
		return pb.NewMaintenanceClient(etcd.ActiveConnection()).Downgrade(ctx, &pb.DowngradeRequest{Action: action, Version: minor})
	})
	return err
}
