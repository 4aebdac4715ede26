package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pai.dev/pai/internal/backup"
	"pai.dev/pai/internal/backup/source"
	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/poll"
)

// RecoveryTask is the backup that a restore starts from.
type RecoveryTask struct {
	Backup  string // name
	Taken   time.Time
	Machine string // the control-plane machine that was backed up
	// Read calls visit with each file of the verified backup.
	Read func(ctx context.Context, visit func(name string, size int64, from io.Reader) error) error
	// Jobs reads the jobs that had not ended.
	Jobs func(JobData) ([]BackupJob, error)
	// Reconciled records what a restore does to jobs, before it does it.
	Reconciled func(ctx context.Context, c Comparison) error
	// EndTokens ends all tokens of the REST server, and returns their number; nil if the
	// operator keeps them.
	EndTokens func(ctx context.Context, k *kube.Client) (int, error)
}

// RecoveryStage is how far a restore from a backup is.
type RecoveryStage string

const (
	RecoveryStarted    RecoveryStage = "started"    // machines are kept out
	RecoveryData       RecoveryStage = "data"       // keys, records, and etcd data are in place
	RecoveryReconciled RecoveryStage = "reconciled" // the jobs of etcd were compared with the machines
	RecoveryTokens     RecoveryStage = "tokens"     // the tokens of the REST server ended, or the operator keeps them
	RecoveryDone       RecoveryStage = "done"       // every machine is admitted
)

// compared reports whether an API server can serve the restored data.
func (s RecoveryStage) compared() bool {
	return s == RecoveryReconciled || s == RecoveryTokens || s == RecoveryDone
}

// Recovered is the content of layout.RecoveryFile.
type Recovered struct {
	Backup string        `json:"backup"`
	Taken  time.Time     `json:"taken"`
	Stage  RecoveryStage `json:"stage"`
}

// ReadRecovered reads how far a restore from a backup is; nil if there was none.
func ReadRecovered(ctx context.Context, h machine.Host) (*Recovered, error) {
	data, err := h.ReadFile(ctx, layout.RecoveryFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var r Recovered
	if err == nil {
		err = json.Unmarshal(data, &r)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s on %q: %w", layout.RecoveryFile, h.Name(), err)
	}
	return &r, nil
}

func writeRecovered(ctx context.Context, h machine.Host, r Recovered) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return h.WriteFile(ctx, layout.RecoveryFile, append(data, '\n'), 0o644)
}

// HasControlPlane says what a machine has of a control plane; empty for nothing.
func HasControlPlane(ctx context.Context, h machine.Host) (string, error) {
	out, err := sh(ctx, h, `for f in %s %s/ca.key %s %s/a/member %s/b/member; do [ ! -e "$f" ] || { echo "$f"; break; }; done`,
		layout.ClusterRecordFile, layout.PKIDir, layout.EncryptionFile, layout.EtcdDir, layout.EtcdDir)
	if err != nil {
		return "", fmt.Errorf("look for a control plane on %q: %w", h.Name(), err)
	}
	return out, nil
}

// checkReconciled refuses to serve restored data that were not compared with the
// machines: its controllers would run jobs again that have ended.
func checkReconciled(ctx context.Context, h machine.Host) error {
	r, err := ReadRecovered(ctx, h)
	if err != nil || r == nil || r.Stage.compared() {
		return err
	}
	return pai.Errorf(pai.CodeRefused, "continue the restore; run: paictl cluster restore",
		"%q is being restored from backup %s, and its jobs were not compared with the machines yet", h.Name(), r.Backup)
}

// recoveryStage is how far the restore of this backup is; empty if it did not start.
func (c *cluster) recoveryStage(ctx context.Context, h machine.Host) (RecoveryStage, error) {
	r, err := ReadRecovered(ctx, h)
	if err != nil || r == nil || r.Backup != c.Recovery.Backup {
		return "", err
	}
	return r.Stage, nil
}

func (c *cluster) setStage(ctx context.Context, h machine.Host, s RecoveryStage) error {
	return writeRecovered(ctx, h, Recovered{c.Recovery.Backup, c.Recovery.Taken, s})
}

// recoverDone reports whether the machine has the data, and keeps the others out.
func (c *cluster) recoverDone(ctx context.Context, h machine.Host, _ config.Machine, _ plan.Step) (bool, error) {
	stage, err := c.recoveryStage(ctx, h)
	if err != nil || stage == "" || stage == RecoveryStarted {
		return false, err
	}
	if have, err := slotsWithData(ctx, h); err != nil || len(have) == 0 {
		return false, err
	}
	// The copy of the backup has the keys of the cluster.
	if left, err := sh(ctx, h, "[ ! -e %[1]s ] || echo %[1]s", layout.RecoveryDir); err != nil || left != "" {
		return false, err
	}
	if stage == RecoveryDone {
		return true, nil
	}
	return gateHolds(ctx, h)
}

// revisionReserve is added to the revisions of a restored etcd, so that each is higher
// than any that the lost one assigned, and every watch lists again.
const revisionReserve = 1_000_000_000

// recover keeps the machines out, and puts the keys, the records, and the etcd data of
// a backup in place. The next steps make the other certificates and start etcd.
func (c *cluster) recover(ctx context.Context, h machine.Host, m config.Machine, s plan.Step) error {
	stage, err := c.recoveryStage(ctx, h)
	if err != nil {
		return err
	}
	if stage == "" {
		if data, err := HasControlPlane(ctx, h); err != nil || data != "" {
			return errors.Join(err, fmt.Errorf("%q already has a control plane: %s", h.Name(), data))
		}
		if err := c.setStage(ctx, h, RecoveryStarted); err != nil {
			return err
		}
	}
	if err := writeGate(ctx, h, c.Config.Kubernetes.APIServersPort, nil); err != nil {
		return err
	}
	if stage != "" && stage != RecoveryStarted { // the gate was missing, or the copy of the backup is left
		if have, err := slotsWithData(ctx, h); err != nil || len(have) > 0 {
			return errors.Join(err, removeCopy(ctx, h))
		}
	}
	if err := claimPKI(ctx, h); err != nil {
		return err
	}
	c.Progress("copying backup %s to %s", c.Recovery.Backup, h.Name())
	if err := c.copyBackup(ctx, h); err != nil {
		return err
	}
	slot := layout.SlotA
	_, err = sh(ctx, h, `umask 077
cd %[1]s
install -d -m 0700 %[2]s
for slot in a b; do systemctl stop pai-etcd-$slot.service pai-apiserver-$slot.service 2>/dev/null || :; done
( umask 022; mkdir -p %[3]s/pki/etcd %[4]s %[5]s )
for f in %[6]s; do
    case $f in *.key) mode=0600 ;; *) mode=0644 ;; esac
    install -m $mode "pki/$f" "%[3]s/pki/$f"
done
install -m 0600 encryption.yaml %[7]s
if [ -d state ]; then # a record has its name only when it is complete
    sync -f state
    ( cd state; find . -type d ) | while IFS= read -r d; do mkdir -p "%[5]s/$d"; done
    ( cd state; find . -type f ) | while IFS= read -r f; do [ -e "%[5]s/$f" ] || mv -T "state/$f" "%[5]s/$f"; done
fi
rm -rf %[8]s %[8]s.new
said=$(%[9]s snapshot restore etcd/snapshot.db --data-dir %[8]s.new --name %[10]s --initial-cluster %[10]s=%[11]s --initial-advertise-peer-urls %[11]s \
    --initial-cluster-token %[12]s --bump-revision %[13]d --mark-compacted 2>&1) || { printf '%%s\n' "$said" | tail -3 >&2; exit 1; }
mv -T %[8]s.new %[8]s
sync %[3]s/pki/*.key %[3]s/pki/etcd/ca.key %[7]s`,
		layout.RecoveryDir, layout.EtcdDir, layout.KubernetesDir, layout.ConfigDir, layout.StateDir, strings.Join(backup.Authorities(), " "),
		layout.EncryptionFile, slot.EtcdData(), layout.Program(s.To.Kubernetes(), "etcdutl"), slot.Member(m.Hostname), slot.PeerURL(m.HostIP),
		machine.Quote("pai-"+c.Recovery.Backup+"-"+fmt.Sprint(time.Now().Unix())), revisionReserve)
	if err != nil {
		return fmt.Errorf("put backup %s in place on %q: %w", c.Recovery.Backup, h.Name(), err)
	}
	if err := c.setStage(ctx, h, RecoveryData); err != nil {
		return err
	}
	return removeCopy(ctx, h)
}

func (c *cluster) reconcileDone(ctx context.Context, h machine.Host, _ config.Machine, _ plan.Step) (bool, error) {
	stage, err := c.recoveryStage(ctx, h)
	return stage.compared(), err
}

// reconcile compares the jobs of the restored etcd with the machines, and holds those
// that must not run again. No API server runs yet.
func (c *cluster) reconcile(ctx context.Context, h machine.Host, _ config.Machine, _ plan.Step) error {
	states, err := slotStates(ctx, h, etcdRole)
	if err != nil {
		return err
	}
	slot := layout.SlotA
	if states[slot].Running == "" {
		slot = layout.SlotB
	}
	client, err := c.etcds.Open(ctx, h)
	if err != nil {
		return err
	}
	defer client.Close()
	values, err := client.Values(ctx, slot, source.JobPrefixes())
	if err != nil {
		return err
	}
	data := JobData(values)
	jobs, err := c.Recovery.Jobs(data)
	if err != nil {
		return fmt.Errorf("read the jobs of backup %s: %w", c.Recovery.Backup, err)
	}
	found := Compare(jobs, c.presences(ctx))
	if err := c.Recovery.Reconciled(ctx, found); err != nil {
		return err
	}
	records, err := data.Records()
	if err != nil {
		return err
	}
	by := "the restore of backup " + c.Recovery.Backup
	for _, j := range found.Held {
		held, err := hold(records[j.key()], data, j.Namespace, j.Object, by, time.Now())
		if err != nil {
			return err
		}
		if err := client.Replace(ctx, slot, held.Put, held.Remove); err != nil {
			return fmt.Errorf("keep job %s from running again: %w", j.JobRef, err)
		}
	}
	return c.setStage(ctx, h, RecoveryReconciled)
}

func (c *cluster) tokensDone(ctx context.Context, h machine.Host, _ config.Machine, _ plan.Step) (bool, error) {
	stage, err := c.recoveryStage(ctx, h)
	return stage == RecoveryTokens || stage == RecoveryDone, err
}

// tokens ends the tokens of the REST server: which of them were revoked after the backup
// is unknown. No REST server uses the API server yet.
func (c *cluster) tokens(ctx context.Context, h machine.Host, _ config.Machine, _ plan.Step) error {
	if c.Recovery.EndTokens != nil {
		k, err := c.Kube(ctx)
		if err != nil {
			return err
		}
		n, err := c.Recovery.EndTokens(ctx, k)
		if err != nil {
			return fmt.Errorf("end the tokens of backup %s: %w", c.Recovery.Backup, err)
		}
		c.Progress("ended %d tokens of the REST server", n)
	}
	return c.setStage(ctx, h, RecoveryTokens)
}

// presences asks all machines of the configuration. The machine that was backed up has
// nothing if another one takes its place.
func (c *cluster) presences(ctx context.Context) map[string]Presence {
	found := Presences(ctx, c.Hosts, c.Config.MachineNames())
	if _, configured := found[c.Recovery.Machine]; !configured {
		found[c.Recovery.Machine] = Presence{}
	}
	return found
}

// admitter lets a machine use the API server of a restored control plane. Whether that
// would end a container, or run a job again, is asked before.
type admitter struct{ *cluster }

// Done reports whether the machine is let in and its node is Ready.
func (a admitter) Done(ctx context.Context, s plan.Step) (bool, error) {
	control, _, err := a.controlPlane()
	if err != nil {
		return false, err
	}
	m, ok := a.Config.FindMachine(s.Target)
	if !ok {
		return false, fmt.Errorf("machine %q not found in the configuration", s.Target)
	}
	if in, err := isLetIn(ctx, control, m); err != nil || !in {
		return false, err
	}
	return a.nodeIsReady(ctx, s.Target)
}

// nodeIsReady reports whether the kubelet of a node uses the restored API server: the
// restored node is Ready, too, but its lease is older than the backup.
func (c *cluster) nodeIsReady(ctx context.Context, name string) (bool, error) {
	k, err := c.Kube(ctx)
	if err != nil {
		return false, err
	}
	node, err := k.Clientset().CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read node %q: %w", name, err)
	}
	lease, err := k.Clientset().CoordinationV1().Leases(corev1.NamespaceNodeLease).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read the lease of node %q: %w", name, err)
	}
	renewed := lease.Spec.RenewTime != nil && lease.Spec.RenewTime.After(c.Recovery.Taken)
	return renewed && checkNode(node, node.Status.NodeInfo.KubeletVersion) == nil, nil
}

func (a admitter) Do(ctx context.Context, s plan.Step) error {
	h, m, err := a.target(s)
	if err != nil {
		return err
	}
	control, _, err := a.controlPlane()
	if err != nil {
		return err
	}
	// The control plane can have another address now.
	if err := a.copyCA(ctx, h); err != nil {
		return err
	}
	if err := a.writeProxyConfig(ctx, h, m, nil); err != nil {
		return err
	}
	if err := a.letIn(ctx, control, m); err != nil {
		return err
	}
	k, err := a.Kube(ctx)
	if err != nil {
		return err
	}
	_, err = k.Clientset().CoreV1().Nodes().Get(ctx, m.Hostname, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		// It joined after the backup. A kubelet registers its node when it starts, and
		// no container notices that.
		if _, err := sh(ctx, h, "systemctl restart %s", layout.Unit(plan.RoleKubelet)); err != nil {
			return fmt.Errorf("register node %q again: %w", m.Hostname, err)
		}
	} else if err != nil {
		return fmt.Errorf("read node %q: %w", m.Hostname, err)
	}
	wait := poll.Wait{For: "node " + m.Hostname + " to use the restored API server", Timeout: nodeReadyTimeout, Every: time.Second}
	return wait.Until(ctx, func(ctx context.Context) (bool, error) { return a.nodeIsReady(ctx, m.Hostname) })
}

func (c *cluster) openDone(ctx context.Context, h machine.Host, _ config.Machine, _ plan.Step) (bool, error) {
	stage, err := c.recoveryStage(ctx, h)
	if err != nil || stage != RecoveryDone {
		return false, err
	}
	_, shut, err := readGate(ctx, h)
	return !shut, err
}

// open ends a restore: every machine was admitted.
func (c *cluster) open(ctx context.Context, h machine.Host, _ config.Machine, _ plan.Step) error {
	if err := removeGate(ctx, h); err != nil {
		return err
	}
	return c.setStage(ctx, h, RecoveryDone)
}
