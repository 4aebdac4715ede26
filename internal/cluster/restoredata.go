package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// restoredFrom is a key in the file of a slot's first membership: the snapshot that
// its data came from. etcd does not read it.
const restoredFrom = "PAI_RESTORED_FROM"

// snapshotToRestore is the snapshot that a rollback restores. It is empty if an
// earlier run has restored it.
func snapshotToRestore(ctx context.Context, h machine.Host, s plan.Step) (string, error) {
	names, err := Snapshots(ctx, h)
	if err != nil {
		return "", err
	}
	to, newest := s.To.Kubernetes(), s.From.Kubernetes()
	if name := plan.SnapshotToRestore(names, to, newest); name != "" {
		return layout.SnapshotsDir + "/" + name, nil
	}
	if slices.Contains(names, plan.RestoredSnapshot(to, newest)) {
		return "", nil
	}
	return "", pai.Errorf(pai.CodeFailed, "continue to the newer version; run: paictl upgrade apply",
		"%s on %q has no snapshot from before the hop from %s", layout.SnapshotsDir, h.Name(), s.To)
}

// sourceOfRestore is the snapshot to restore, and the slot whose data it replaces; the
// data go into the other one. snapshot is the result of snapshotToRestore. That of
// sourceOfRestore is empty if an earlier run has restored it, and its data are there.
func sourceOfRestore(ctx context.Context, h machine.Host, s plan.Step, snapshot string, states map[layout.Slot]plan.RoleState) (string, layout.Slot, error) {
	from := layout.SlotA
	if states[layout.SlotB].Running != "" || (states[layout.SlotA].Link == "" && states[layout.SlotB].Link != "") {
		from = layout.SlotB
	}
	if snapshot != "" {
		return snapshot, from, nil
	}
	restored, err := restoredSlot(ctx, h)
	if err != nil {
		return "", from, err
	}
	if restored != nil {
		return "", restored.Other(), nil
	}
	// Power loss can undo what an earlier run restored, and leave its records.
	lost, err := markedSlot(ctx, h, "[ ! -d %s/member ]")
	if err != nil {
		return "", from, err
	}
	have, err := slotsWithData(ctx, h)
	if err != nil {
		return "", from, err
	}
	if lost == nil || !slices.Contains(have, lost.Other()) {
		return "", from, lostData(h, layout.EtcdDir)
	}
	return layout.SnapshotsDir + "/" + plan.RestoredSnapshot(s.To.Kubernetes(), s.From.Kubernetes()), lost.Other(), nil
}

// restoredSlot is the slot whose data came from a snapshot.
func restoredSlot(ctx context.Context, h machine.Host) (*layout.Slot, error) {
	return markedSlot(ctx, h, "[ -d %s/member ]")
}

// markedSlot is the slot that a snapshot was restored into, if its data pass a test.
func markedSlot(ctx context.Context, h machine.Host, test string) (*layout.Slot, error) {
	for _, s := range layout.Slots() {
		out, err := sh(ctx, h, "grep -sq ^%s= %s && "+test+" && echo yes || :", restoredFrom, s.EtcdEnv(), s.EtcdData())
		if err != nil {
			return nil, err
		}
		if out == "yes" {
			return &s, nil
		}
	}
	return nil, nil
}

// replaceData stops all writers and restores a snapshot into the slot beside from, whose
// etcd has this running version, or does not run. New revisions are higher than all
// earlier ones, and those in between are marked compacted, so that no watch continues
// from a revision that was undone.
func (c *cluster) replaceData(ctx context.Context, h machine.Host, m config.Machine, from layout.Slot, running pai.KubernetesVersion, s plan.Step, snapshot string, v pai.KubernetesVersion) error {
	to := from.Other()
	was, err := revisionOf(ctx, h, v, snapshot)
	if err != nil {
		return err
	}
	client, err := c.etcds.Open(ctx, h)
	if err != nil {
		return err
	}
	defer client.Close()
	before := Loss{Snapshot: path.Base(snapshot), Unknown: "etcd did not run before the restore"}
	var then content
	if running != "" {
		if then, before.Taken, err = readSnapshot(ctx, h, running, snapshot); err != nil {
			return err
		}
	}
	c.Progress("restoring etcd from %s; the API is unavailable until the older one serves", path.Base(snapshot))
	if err := stopUnits(ctx, h, "controller-manager", "scheduler", "apiserver-a", "apiserver-b"); err != nil {
		return err
	}
	status, silent := client.Status(ctx, from)
	now := status.Revision
	if running != "" && silent != nil {
		before.Unknown = fmt.Sprintf("etcd did not respond before the restore: %v", silent)
	} else if running != "" {
		live, err := readLive(ctx, client, from)
		if err != nil {
			return err
		}
		before = compareContent(snapshot, before.Taken, then, live)
	}
	if err := c.prepareCarry(ctx, h, before); err != nil {
		return err
	}
	if err := stopUnits(ctx, h, "etcd-a", "etcd-b"); err != nil {
		return err
	}
	if _, err := sh(ctx, h, "rm -rf %[1]s %[1]s.new", to.EtcdData()); err != nil {
		return fmt.Errorf("remove what is left of an earlier restore on %q: %w", h.Name(), err)
	}
	if silent != nil { // an earlier run may have stopped it
		if now, err = revisionOf(ctx, h, v, from.EtcdData()+"/member/snap/db"); err != nil {
			return err
		}
	}
	const reserve = 1_000_000 // revisions that were assigned, but are in no data
	_, err = sh(ctx, h, `umask 077
said=$(%[2]s snapshot restore %[3]s --data-dir %[1]s.new --name %[4]s --initial-cluster %[4]s=%[5]s --initial-advertise-peer-urls %[5]s \
    --bump-revision %[6]d --mark-compacted 2>&1) || { printf '%%s\n' "$said" | tail -3 >&2; exit 1; }
%[7]s
mv -T %[1]s.new %[1]s
sync -- %[8]s`,
		to.EtcdData(), layout.Program(v, "etcdutl"), snapshot, to.Member(m.Hostname), to.PeerURL(m.HostIP), max(now-was, 0)+reserve,
		syncTree(to.EtcdData()+".new"), layout.EtcdDir)
	if err != nil {
		return fmt.Errorf("restore etcd from %s: %w", snapshot, err)
	}
	// etcd reads none of it: the restored data have the members.
	env := membership(stateExisting, to.Member(m.Hostname)+"="+to.PeerURL(m.HostIP)) + restoredFrom + "=" + strconv.Quote(path.Base(snapshot)) + "\n"
	if err := h.WriteFile(ctx, to.EtcdEnv(), []byte(env), 0o644); err != nil {
		return err
	}
	if err := unmark(ctx, h, from); err != nil {
		return err
	}
	return retireSnapshot(ctx, h, s, path.Base(snapshot))
}

// unmark removes the mark of an earlier restore from the slot whose data were replaced,
// so that restoredSlot finds only the other one.
func unmark(ctx context.Context, h machine.Host, s layout.Slot) error {
	data, err := h.ReadFile(ctx, s.EtcdEnv())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	before, _, marked := strings.Cut(string(data), restoredFrom+"=")
	if !marked { // it is the last line
		return nil
	}
	return h.WriteFile(ctx, s.EtcdEnv(), []byte(before), 0o644)
}

// retireSnapshot renames the snapshot that was restored, so that it is never restored
// again over later writes, and removes those of the hops that were undone. They go
// first: SnapshotToRestore would find one of them, which is older, once the newest one
// has its other name.
func retireSnapshot(ctx context.Context, h machine.Host, s plan.Step, snapshot string) error {
	names, err := Snapshots(ctx, h)
	if err != nil {
		return err
	}
	undone := slices.DeleteFunc(plan.UndoneSnapshots(names, s.To.Kubernetes()), func(n string) bool { return n == snapshot })
	retired := plan.RestoredSnapshot(s.To.Kubernetes(), s.From.Kubernetes())
	_, err = sh(ctx, h, `cd %s
rm -f -- %s restore.log
sync .
[ %[3]s = %[4]s ] || mv -T %[3]s %[4]s
sync .`, layout.SnapshotsDir, strings.Join(undone, " "), snapshot, retired)
	if err != nil {
		return fmt.Errorf("rename the snapshot %s on %q, which was restored: %w", snapshot, h.Name(), err)
	}
	return nil
}

// stopUnits stops roles of the control plane before a restore, also for a machine that
// boots meanwhile: it would serve the data that are being replaced. It stops them first,
// so that what runs is enabled. moveAndRestart enables them again.
func stopUnits(ctx context.Context, h machine.Host, roles ...string) error {
	_, err := sh(ctx, h, `for u in %[1]s; do systemctl stop pai-$u.service 2>/dev/null || :; done
for u in %[1]s; do SYSTEMD_OFFLINE=1 systemctl disable -q pai-$u.service 2>/dev/null || :; done
%[2]s`, strings.Join(roles, " "), syncUnits)
	if err != nil {
		return fmt.Errorf("stop %s on %q to restore etcd: %w", strings.Join(roles, ", "), h.Name(), err)
	}
	return nil
}

// prepareCarry lets a loss be recorded, now that nothing writes, and writes what
// stays onto the machine. If the loss is unknown, that of an earlier run stays.
func (c *cluster) prepareCarry(ctx context.Context, h machine.Host, loss Loss) error {
	if c.Restoring == nil {
		return nil
	}
	carry, err := c.Restoring(ctx, loss)
	if err != nil || loss.Unknown != "" {
		return err
	}
	carried, err := loss.Carried(carry)
	if err != nil {
		return err
	}
	return writeCarried(ctx, h, carried)
}

// revisionOf is the last revision in a file of etcd; 0 if it does not exist.
func revisionOf(ctx context.Context, h machine.Host, v pai.KubernetesVersion, file string) (int64, error) {
	out, err := sh(ctx, h, "[ ! -e %[2]s ] || %[1]s snapshot status %[2]s -w json", layout.Program(v, "etcdutl"), file)
	var status struct {
		Revision int64 `json:"revision"`
	}
	if err == nil && out != "" {
		err = json.Unmarshal([]byte(out), &status)
	}
	if err != nil {
		return 0, fmt.Errorf("read the revision of %s on %q: %w", file, h.Name(), err)
	}
	return status.Revision, nil
}
