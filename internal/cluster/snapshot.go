package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
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
		snapshotFile(s), int(snapshotFresh.Minutes()), staleScratch)
	return out == "fresh", err
}

// snapshot saves the data of etcd, and restores it into a scratch directory to
// verify it.
func (c *cluster) snapshot(ctx context.Context, h machine.Host, _ config.Machine, s plan.Step) error {
	states, err := slotStates(ctx, h, etcdRole)
	if err != nil {
		return err
	}
	for _, from := range layout.Slots() {
		if states[from].Running != "" && etcdHealthy(ctx, h, from) == nil {
			return saveSnapshot(ctx, h, from, s)
		}
	}
	if states[layout.SlotA].Running != "" || states[layout.SlotB].Running != "" {
		return fmt.Errorf("no etcd on %q is healthy, so no snapshot can be taken", h.Name())
	}
	return c.snapshotAtRest(ctx, h, s)
}

func saveSnapshot(ctx context.Context, h machine.Host, from layout.Slot, s plan.Step) error {
	states, err := roleState(ctx, h, from.Etcd)
	if err != nil {
		return err
	}
	file := snapshotFile(s)
	etcdutl := layout.Program(states.Running, "etcdutl")
	out, err := sh(ctx, h, `
%[1]s
fail() { printf '%%s\n' "$said" | tail -3 >&2; exit 1; } # no log file: the disk may be full
said=$(%[2]s snapshot save "$scratch/snapshot.db" 2>&1) || fail
%[3]s snapshot status "$scratch/snapshot.db" -w fields
said=$(%[3]s snapshot restore "$scratch/snapshot.db" --data-dir "$scratch/restored" 2>&1) || fail
[ -e "$scratch/restored/member/snap/db" ]
sync "$scratch/snapshot.db"
mv -T "$scratch/snapshot.db" %[4]s`, makeScratch, etcdctl(states.Running, from), etcdutl, file)
	if err != nil {
		return fmt.Errorf("take a snapshot of etcd: %w", err)
	}
	if strings.Contains(out, `"Keys" : 0`) {
		return fmt.Errorf("take a snapshot of etcd: it holds no keys")
	}
	return pruneSnapshots(ctx, h)
}

// Scratch data is on the disk of the snapshots, which has the space for it, in
// a directory that is named by the process that uses it.
const (
	// staleScratch prints the scratch directories whose process has ended.
	staleScratch = `for d in ` + layout.SnapshotsDir + `/.scratch-*; do [ ! -d "$d" ] || [ -d "/proc/${d##*-}" ] || echo "$d"; done`
	// makeScratch makes $scratch. It is the target of $SCRATCH, so it is removed
	// when the script ends or is killed.
	makeScratch = `umask 077
install -d -m 0700 ` + layout.SnapshotsDir + `
` + staleScratch + ` | xargs -r rm -rf
scratch=` + layout.SnapshotsDir + `/.scratch-$$
ln -s "$scratch" "$SCRATCH"
rm -rf "$scratch"
mkdir "$scratch"`
)

// pruneSnapshots keeps the newest few.
func pruneSnapshots(ctx context.Context, h machine.Host) error {
	_, err := sh(ctx, h, "cd %s && rm -f -- $(ls -1t | tail -n +6)", layout.SnapshotsDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove old snapshots: %w", err)
	}
	return nil
}
