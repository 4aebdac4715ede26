package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
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

// HasControlPlane says what a machine has of a control plane; empty for nothing.
func HasControlPlane(ctx context.Context, h machine.Host) (string, error) {
	out, err := sh(ctx, h, `for f in %s %s/ca.key %s %s/a/member %s/b/member; do [ ! -e "$f" ] || { echo "$f"; break; }; done`,
		layout.ClusterRecordFile, layout.PKIDir, layout.EncryptionFile, layout.EtcdDir, layout.EtcdDir)
	if err != nil {
		return "", fmt.Errorf("look for a control plane on %q: %w", h.Name(), err)
	}
	return out, nil
}

// recoverDone reports whether the machine has the keys and the data, and keeps the
// others out.
func (c *cluster) recoverDone(ctx context.Context, h machine.Host, _ config.Machine, _ plan.Step) (bool, error) {
	stage, err := c.recoveryStage(ctx, h)
	if err != nil || !stage.placed() {
		return false, err
	}
	if have, err := slotsWithData(ctx, h); err != nil || len(have) == 0 {
		return false, err
	}
	if missing, err := missingKeys(ctx, h); err != nil || len(missing) > 0 {
		return false, err
	}
	// The copy of the backup has the keys of the cluster.
	if left, err := sh(ctx, h, "[ ! -e %[1]s ] || echo %[1]s", layout.RecoveryDir); err != nil || left != "" {
		return false, err
	}
	if stage.open() {
		return true, nil
	}
	return gateHolds(ctx, h)
}

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
	placed := stage.placed()
	if placed { // the gate or a key was missing, or the copy of the backup is left
		have, err := slotsWithData(ctx, h)
		if err != nil {
			return err
		}
		placed = len(have) > 0
	}
	if stage.compared() && !placed {
		return lostData(h, layout.EtcdDir)
	}
	if err := c.keepOut(ctx, h, stage, placed); err != nil {
		return err
	}
	if placed {
		if missing, err := missingKeys(ctx, h); err != nil || len(missing) == 0 {
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
	if err := c.placeKeys(ctx, h); err != nil {
		return err
	}
	if !placed { // else etcd may have later writes
		if err := c.placeData(ctx, h, m, s); err != nil {
			return err
		}
		if err := c.setStage(ctx, h, RecoveryData); err != nil {
			return err
		}
	}
	return removeCopy(ctx, h)
}

// keepOut shuts the gate. Machines that were admitted to the data in place stay
// admitted, and an open gate stays open.
func (c *cluster) keepOut(ctx context.Context, h machine.Host, stage RecoveryStage, placed bool) error {
	if placed && stage.open() {
		return nil
	}
	var admitted []netip.Addr
	if placed {
		var err error
		if admitted, _, err = readGate(ctx, h); err != nil {
			return err
		}
	}
	return writeGate(ctx, h, c.Config.Kubernetes.APIServersPort, admitted)
}

func (c *cluster) tokensDone(ctx context.Context, h machine.Host, _ config.Machine, _ plan.Step) (bool, error) {
	stage, err := c.recoveryStage(ctx, h)
	return stage.tokensEnded(), err
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
	// Without this stage, a run that is killed now would leave a restore that has to shut
	// the gate again, in front of machines that were admitted.
	if err := c.setStage(ctx, h, RecoveryOpening); err != nil {
		return err
	}
	if err := removeGate(ctx, h); err != nil {
		return err
	}
	return c.setStage(ctx, h, RecoveryDone)
}
