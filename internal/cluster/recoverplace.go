package cluster

import (
	"context"
	"fmt"
	"strings"
	"time"

	"pai.dev/pai/internal/backup"
	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/plan"
)

// revisionReserve is added to the revisions of a restored etcd, so that each is higher
// than any that the lost one assigned, and every watch lists again.
const revisionReserve = 1_000_000_000

// placeKeys puts the keys of the copied backup in place, on the disk: without them, the
// data cannot be read.
func (c *cluster) placeKeys(ctx context.Context, h machine.Host) error {
	_, err := sh(ctx, h, `cd %[1]s
umask 022
mkdir -p %[2]s/pki/etcd %[3]s
umask 077
for f in %[4]s; do
    case $f in *.key) mode=0600 ;; *) mode=0644 ;; esac
    install -m $mode "pki/$f" "%[2]s/pki/$f"
done
install -m 0600 encryption.yaml %[5]s
sync -f %[2]s
sync -f %[3]s`,
		layout.RecoveryDir, layout.KubernetesDir, layout.ConfigDir, strings.Join(backup.Authorities(), " "), layout.EncryptionFile)
	if err != nil {
		return fmt.Errorf("put the keys of backup %s in place on %q: %w", c.Recovery.Backup, h.Name(), err)
	}
	return nil
}

// placeData puts the records and the etcd data of the copied backup in place, on the
// disk, before the stage is recorded. What a run for lost data had decided about jobs does
// not hold for these. etcd and the API server of a control plane that was here before do not
// start on them: their slots become those of a fresh machine.
func (c *cluster) placeData(ctx context.Context, h machine.Host, m config.Machine, s plan.Step) error {
	slot := layout.SlotA
	if err := stopUnits(ctx, h, "apiserver-a", "apiserver-b", "etcd-a", "etcd-b"); err != nil {
		return err
	}
	var earlier []string
	for _, s := range layout.Slots() {
		earlier = append(earlier, layout.RoleLink(s.Etcd), layout.RoleLink(s.APIServer), s.EtcdEnv())
	}
	_, err := sh(ctx, h, `cd %[1]s
umask 022
mkdir -p %[3]s
umask 077
install -d -m 0700 %[2]s
rm -f %[4]s %[11]s
if [ -d state ]; then # a record has its name only when it is complete
    sync -f state
    ( cd state; find . -type d ) | while IFS= read -r d; do mkdir -p "%[3]s/$d"; done
    ( cd state; find . -type f ) | while IFS= read -r f; do [ -e "%[3]s/$f" ] || mv -T "state/$f" "%[3]s/$f"; done
fi
rm -rf %[5]s %[5]s.new
said=$(%[6]s snapshot restore etcd/snapshot.db --data-dir %[5]s.new --name %[7]s --initial-cluster %[7]s=%[8]s --initial-advertise-peer-urls %[8]s \
    --initial-cluster-token %[9]s --bump-revision %[10]d --mark-compacted 2>&1) || { printf '%%s\n' "$said" | tail -3 >&2; exit 1; }
sync -f %[5]s.new
mv -T %[5]s.new %[5]s
sync -f %[2]s
sync -f %[3]s`,
		layout.RecoveryDir, layout.EtcdDir, layout.StateDir, heldFile, slot.EtcdData(),
		layout.Program(s.To.Kubernetes(), "etcdutl"), slot.Member(m.Hostname), slot.PeerURL(m.HostIP),
		machine.Quote("pai-"+c.Recovery.Backup+"-"+fmt.Sprint(time.Now().Unix())), revisionReserve, strings.Join(earlier, " "))
	if err != nil {
		return fmt.Errorf("put backup %s in place on %q: %w", c.Recovery.Backup, h.Name(), err)
	}
	return nil
}
