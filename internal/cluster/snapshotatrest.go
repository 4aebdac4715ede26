package cluster

import (
	"context"
	"fmt"

	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

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
%[4]s`, from.EtcdData(), makeScratch, serveScratch(v), keepSnapshot(v, snapshotFile(s)))
	if err != nil {
		return fmt.Errorf("take a snapshot of etcd's data at rest: %w", err)
	}
	return pruneSnapshots(ctx, h)
}
