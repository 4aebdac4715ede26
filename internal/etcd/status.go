package etcd

import (
	"context"
	"fmt"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
)

// Status is what an etcd reports about itself.
type Status struct {
	Member  uint64 // the one that was asked
	Leader  uint64 // 0 if there is none
	Cluster uint64 // the ID of its cluster
	Term    uint64 // of the leader
	Version string
	Storage string // the version whose form the data has; empty if it is not set yet
	// Downgrade is the version to which a downgrade is enabled; empty if none is.
	Downgrade string
	Revision  int64  // of the last write
	Index     uint64 // of the last entry of the log
	Applied   uint64 // of the last entry in the data
	Size      int64  // of its file
	Used      int64  // the part in use; defragmentation frees the rest
	Quota     int64  // 0 if unknown
	Errors    []string
}

// Overview is the status of an etcd with the alarms and members of all.
type Overview struct {
	Status
	Alarms  []string
	Members Members
}

// Status asks the etcd in a slot for its status. A learner and an etcd without
// a quorum report it too.
func (c *Client) Status(ctx context.Context, s layout.Slot) (Status, error) {
	return ask(ctx, c, s, callTimeout, "read the status", func(ctx context.Context, etcd *clientv3.Client) (Status, error) {
		// Maintenance.Status of the client connects again for each request.
		r, err := pb.NewMaintenanceClient(etcd.ActiveConnection()).Status(ctx, &pb.StatusRequest{})
		if err != nil {
			return Status{}, err
		}
		s := Status{Member: r.Header.MemberId, Leader: r.Leader, Cluster: r.Header.ClusterId, Term: r.RaftTerm, Version: r.Version, Storage: r.StorageVersion, Revision: r.Header.Revision,
			Index: r.RaftIndex, Applied: r.RaftAppliedIndex, Size: r.DbSize, Used: r.DbSizeInUse, Quota: r.DbSizeQuota, Errors: r.Errors}
		if d := r.DowngradeInfo; d.GetEnabled() {
			s.Downgrade = d.GetTargetVersion()
		}
		return s, nil
	})
}

// Serves reports whether the etcd in a slot accepts requests. A learner reports
// no more than that.
func (c *Client) Serves(ctx context.Context, s layout.Slot) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second) // it listens long before it serves
	defer cancel()
	_, err := c.Status(ctx, s)
	return err
}

// Health reads through the etcd in a slot, which needs a quorum, and reports
// alarms as an error.
func (c *Client) Health(ctx context.Context, s layout.Slot) error {
	_, err := ask(ctx, c, s, callTimeout, "check the health", func(ctx context.Context, etcd *clientv3.Client) (any, error) {
		if _, err := etcd.Get(ctx, "health"); err != nil {
			return nil, err
		}
		alarms, err := readAlarms(ctx, etcd)
		if err == nil && len(alarms) > 0 {
			err = fmt.Errorf("alarms: %s", strings.Join(alarms, ", "))
		}
		return nil, err
	})
	return err
}

func readAlarms(ctx context.Context, etcd *clientv3.Client) ([]string, error) {
	list, err := etcd.AlarmList(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the alarms: %w", err)
	}
	var names []string
	for _, a := range list.Alarms {
		names = append(names, a.Alarm.String())
	}
	return names, nil
}

// ReadOverview asks the etcd in a slot of a machine for all that checks need.
func ReadOverview(ctx context.Context, h machine.Host, s layout.Slot) (o Overview, err error) {
	c, err := Open(ctx, h)
	if err != nil {
		return o, err
	}
	defer c.Close()
	if o.Status, err = c.Status(ctx, s); err != nil {
		return o, err
	}
	if o.Members, err = c.List(ctx, s); err != nil {
		return o, err
	}
	o.Alarms, err = ask(ctx, c, s, callTimeout, "list the alarms", readAlarms)
	return o, err
}
