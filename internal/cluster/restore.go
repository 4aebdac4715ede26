package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// Snapshots lists the names of the snapshots of etcd that a control-plane
// machine has, the newest first.
func Snapshots(ctx context.Context, host machine.Host) ([]string, error) {
	out, err := sh(ctx, host, "[ ! -d %[1]s ] || ls -1t %[1]s", layout.SnapshotsDir)
	if err != nil {
		return nil, fmt.Errorf("list the snapshots of etcd: %w", err)
	}
	return slices.DeleteFunc(strings.Fields(out), func(n string) bool { return !strings.HasSuffix(n, ".db") }), nil
}

// restoreDone reports whether only the API server of the older version runs, on the
// restored data. It does not start before a snapshot is restored.
func (c *cluster) restoreDone(ctx context.Context, h machine.Host, m config.Machine, s plan.Step) (bool, error) {
	if ok, err := c.apiServerDone(ctx, h, m, s); err != nil || !ok {
		return false, err
	}
	return c.restoredServes(ctx, h, m, s)
}

// restoredServes reports whether only the etcd that a restore starts runs, or the older
// one that took over from it since.
func (c *cluster) restoredServes(ctx context.Context, h machine.Host, m config.Machine, s plan.Step) (bool, error) {
	v, err := etcdVersionFor(ctx, h, s)
	if err != nil {
		return false, err
	}
	first := s
	first.To = pai.AnyVersion(v)
	if ok, err := c.etcdDone(ctx, h, m, first); err != nil || ok {
		return ok, err
	}
	return c.etcdDone(ctx, h, m, s)
}

// etcdVersionFor is the version whose etcd serves the restored data: the older one,
// unless its etcd has an older minor. The snapshot may have the newer form, which
// only a running etcd can rewrite, so the older etcd takes over in the next step.
func etcdVersionFor(ctx context.Context, h machine.Host, s plan.Step) (pai.KubernetesVersion, error) {
	older, err := readInstalled(ctx, h, s.To.Kubernetes())
	if err != nil {
		return "", err
	}
	newer, err := readInstalled(ctx, h, s.From.Kubernetes())
	if err != nil {
		return "", err
	}
	minor := func(v string) string { return v[:max(0, strings.LastIndexByte(v, '.'))] }
	if minor(older.Programs["etcd"]) == minor(newer.Programs["etcd"]) {
		return s.To.Kubernetes(), nil
	}
	return s.From.Kubernetes(), nil
}

// restore restores the content of etcd from before the commit, and starts the
// older API server on it. Containers keep running, and kubelets compare them with
// the API when it is available again.
func (c *cluster) restore(ctx context.Context, h machine.Host, m config.Machine, s plan.Step) error {
	v, err := etcdVersionFor(ctx, h, s)
	if err != nil {
		return err
	}
	if err := c.restoreEtcd(ctx, h, m, s, v); err != nil {
		return err
	}
	// The controllers are still stopped. Later steps start them.
	if err := c.apiServer(ctx, h, m, s); err != nil {
		return err
	}
	if err := c.markMaintained(ctx); err != nil {
		return err
	}
	return c.awaitReports(ctx)
}

// restoreEtcd starts the etcd of a version on what was in etcd before the commit. If an
// earlier run did that, and the older etcd is taking over since, it continues
// with that: the data may be in the older one alone.
func (c *cluster) restoreEtcd(ctx context.Context, h machine.Host, m config.Machine, s plan.Step, v pai.KubernetesVersion) error {
	states, err := slotStates(ctx, h, etcdRole)
	if err != nil {
		return err
	}
	snapshot, err := snapshotToRestore(ctx, h, s)
	if err != nil {
		return err
	}
	if older := s.To.Kubernetes(); snapshot == "" && v != older && (states[layout.SlotA].Link == older || states[layout.SlotB].Link == older) {
		if ok, err := c.etcdDone(ctx, h, m, s); err != nil || ok {
			return err
		}
		return c.etcd(ctx, h, m, s)
	}
	snapshot, from, err := sourceOfRestore(ctx, h, s, snapshot, states)
	if err != nil {
		return err
	}
	if snapshot != "" {
		if err := c.replaceData(ctx, h, m, from, states[from].Running, s, snapshot, v); err != nil {
			return err
		}
	}
	return c.startRestored(ctx, h, m, from.Other(), v)
}

// startRestored starts etcd on the restored data, and removes the one that served before.
func (c *cluster) startRestored(ctx context.Context, h machine.Host, m config.Machine, to layout.Slot, v pai.KubernetesVersion) error {
	if err := c.renderRole(ctx, h, m, v, to.Etcd); err != nil {
		return err
	}
	state, err := roleState(ctx, h, to.Etcd)
	if err != nil {
		return err
	}
	if !startedAs(state, v) {
		if err := moveAndRestart(ctx, h, to.Etcd, v); err != nil {
			return err
		}
	}
	if err := c.awaitRole(ctx, h, to.Etcd, v); err != nil {
		return err
	}
	if err := c.applyCarried(ctx, h, to); err != nil {
		return fmt.Errorf("keep the users and the records of ended jobs: %w", err)
	}
	if err := c.removeUnready(ctx, h, m, to); err != nil {
		return err
	}
	return removeEtcd(ctx, h, to.Other())
}

// removeUnready removes the learner of a handover that died before its etcd had a link.
func (c *cluster) removeUnready(ctx context.Context, h machine.Host, m config.Machine, serves layout.Slot) error {
	client, err := c.etcds.Open(ctx, h)
	if err != nil {
		return err
	}
	defer client.Close()
	members, err := client.AwaitList(ctx, healthTimeout, serves)
	if err != nil {
		return err
	}
	if old := members.Unready(m, serves); old != nil {
		return client.Remove(ctx, m, serves, old.ID)
	}
	return nil
}
