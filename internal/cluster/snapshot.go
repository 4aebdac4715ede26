package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"time"

	"pai.dev/pai/internal/backup/source"
	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// snapshotFresh is the maximum age of a verified snapshot that a resumed hop uses.
const snapshotFresh = time.Hour

// snapshotFile is the path of the snapshot of a step. A hop takes one before its
// first change and one before its commit. Only a verified snapshot has that name.
func snapshotFile(s plan.Step) string {
	return layout.SnapshotsDir + "/" + plan.SnapshotName(s.From.Kubernetes(), s.To.Kubernetes(), path.Base(string(s.ID)) == "commit-snapshot")
}

// snapshotDone reports whether the hop has a recent, verified snapshot.
func (c *cluster) snapshotDone(ctx context.Context, h machine.Host, _ config.Machine, s plan.Step) (bool, error) {
	// Scratch data that a killed run left is removed by the next snapshot.
	out, err := sh(ctx, h, "[ ! -e %[1]s ] || [ -z \"$(find %[1]s -mmin -%[2]d)\" ] || [ -n \"$(%[3]s)\" ] || echo fresh",
		snapshotFile(s), int(snapshotFresh.Minutes()), source.StaleScratch)
	return out == "fresh", err
}

// snapshot saves the data of etcd, and restores it into a scratch directory to
// verify it. It stays on the machine, so the programs there do that.
func (c *cluster) snapshot(ctx context.Context, h machine.Host, _ config.Machine, s plan.Step) error {
	states, err := slotStates(ctx, h, etcdRole)
	if err != nil {
		return err
	}
	for _, from := range layout.Slots() {
		if v := states[from].Running; v != "" && c.etcdHealthy(ctx, h, from) == nil {
			_, err := sh(ctx, h, `%s
said=$(%s --cacert %[3]s/etcd/ca.crt --cert %[3]s/etcd/healthcheck-client.crt --key %[3]s/etcd/healthcheck-client.key \
    --endpoints https://127.0.0.1:%[4]d snapshot save snapshot.db 2>&1) || fail
%[5]s`, source.MakeScratch, layout.Program(v, "etcdctl"), layout.PKIDir, from.EtcdClientPort, keepSnapshot(v, snapshotFile(s)))
			if err != nil {
				return fmt.Errorf("take a snapshot of etcd: %w", err)
			}
			return pruneSnapshots(ctx, h)
		}
	}
	if states[layout.SlotA].Running != "" || states[layout.SlotB].Running != "" {
		return fmt.Errorf("no etcd on %q is healthy, so no snapshot can be taken", h.Name())
	}
	return c.snapshotAtRest(ctx, h, s)
}

// snapshotAtRest takes a snapshot of an etcd that does not run because the machine
// was cleaned. The etcd of the version that wrote the data serves a copy of it on
// private sockets, and takes the snapshot. So the snapshot includes the log that is
// not in the database yet, and the data is proven before a newer version reads it.
func (c *cluster) snapshotAtRest(ctx context.Context, h machine.Host, s plan.Step) error {
	have, err := slotsWithData(ctx, h)
	if err != nil {
		return err
	}
	if len(have) != 1 {
		return pai.Errorf(pai.CodeFailed, fmt.Sprintf("name Kubernetes %s in the configuration, boot it, which settles etcd, and upgrade from there", s.From),
			"take a snapshot of etcd's data on %q: %d of its two slots have data, so it was cleaned before etcd was in one place", h.Name(), len(have))
	}
	from := have[0]
	if _, err := h.ReadFile(ctx, installedFile(s.From.Kubernetes())); err != nil {
		return pai.Errorf(pai.CodeFailed, fmt.Sprintf("name Kubernetes %s in the configuration, boot it, and upgrade from there", s.From),
			"take a snapshot of etcd's data in %s on %q: the programs of Kubernetes %s, which wrote it, are not there: %w", from.EtcdData(), h.Name(), s.From, err)
	}
	v := s.From.Kubernetes()
	_, err = sh(ctx, h, `[ -d %[1]s/member ] || { echo "%[1]s holds no data" >&2; exit 1; }
%[2]s
mkdir data
cp -a %[1]s/member data/
%[3]s
said=$($ask snapshot save snapshot.db 2>&1) || fail
%[4]s`, from.EtcdData(), source.MakeScratch, source.ServeScratch(v), keepSnapshot(v, snapshotFile(s)))
	if err != nil {
		return fmt.Errorf("take a snapshot of etcd's data at rest: %w", err)
	}
	return pruneSnapshots(ctx, h)
}

// pruneSnapshots keeps the newest few.
func pruneSnapshots(ctx context.Context, h machine.Host) error {
	_, err := sh(ctx, h, "cd %s && rm -f -- $(ls -1t | tail -n +6)", layout.SnapshotsDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove old snapshots: %w", err)
	}
	return nil
}
