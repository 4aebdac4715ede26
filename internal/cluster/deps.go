package cluster

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"fmt"
	"io"
	"sync"
	"time"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/etcd"
	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/release"
)

// BundleContent is the part of a *release.Bundle that this package needs.
type BundleContent interface {
	Digest() string
	Manifest() release.Manifest
	// WritePrograms writes a tar of bin/… and cni/….
	WritePrograms(ctx context.Context, w io.Writer) error
	// WritePackedPrograms writes the same as zstd frames, each with a tar.
	WritePackedPrograms(ctx context.Context, w io.Writer) error
	// ProgramDigests has the sha256 in hex of each program by its path.
	ProgramDigests(ctx context.Context) (map[string]string, error)
	// WriteImages writes an OCI archive of the named images, or of all images.
	WriteImages(ctx context.Context, w io.Writer, names ...string) error
	ImageNames() []string
	// Image is the full name of an image: "kueue" → "pai.local/kueue:v0.14.0".
	Image(name string) string
}

// Deps is what the doers work with.
type Deps struct {
	Config *config.Config
	// Hosts are the machines by name.
	Hosts map[string]machine.Host
	// Seed names the control-plane machine that stands for all; see Seed. It can be empty
	// where there is one.
	Seed string
	// Records are those of the cluster; nil for those of the one control-plane machine.
	Records Records
	// Bundle has the programs and images. It is nil for steps that only remove.
	Bundle BundleContent
	// Kube returns a client of the API.
	Kube func(ctx context.Context) (*kube.Client, error)
	// Gap is called with the time in which no container could start on a machine. It
	// can be nil.
	Gap func(ctx context.Context, machine string, d time.Duration)
	// Restoring is called right before a restore replaces etcd, when nothing writes
	// to it any more. It records what is lost, and returns the records that stay. It
	// can be nil.
	Restoring func(ctx context.Context, l Loss) (Carry, error)
	// Backup is what a backup step stores; nil for other goals.
	Backup *BackupTask
	// OperatorKey returns the key of the operator, which permits a machine to sign
	// backups; nil if no step needs it.
	OperatorKey func() (ed25519.PrivateKey, error)
	// Recovery is what a restore from a backup puts on the machine; nil for other goals.
	Recovery *RecoveryTask
	// Operation returns the operation in progress, which the record of a maintenance
	// names; nil for other goals.
	Operation func() (pai.Operation, error)
	// EndsJobs reports whether the operator accepted the end of the jobs on a machine; nil
	// for no machine.
	EndsJobs func(machine string) bool
	// Progress reports long actions. It can be nil.
	Progress func(format string, args ...any)
	// Kubeadm runs a script with $kubeadm and $config of the version of the
	// bundle, but not on a machine. It is set if steps are only shown, because
	// their programs might not be on the machines yet.
	Kubeadm func(ctx context.Context, config []byte, script string) (string, error)
}

// Doers returns the doers of the machine and cluster steps.
func Doers(d Deps) plan.Doers {
	if d.Progress == nil {
		d.Progress = func(string, ...any) {}
	}
	if d.Gap == nil {
		d.Gap = func(context.Context, string, time.Duration) {}
	}
	c := &cluster{Deps: d}
	return plan.Doers{
		plan.KindPrepare:     withDiff{doer{c, c.prepareDone, c.prepare}, c.diffPrepared},
		plan.KindPrograms:    doer{c, c.programsDone, c.programs},
		plan.KindImages:      doer{c, c.imagesDone, c.images},
		plan.KindRole:        withDiff{doer{c, c.roleDone, c.role}, c.diffFiles},
		plan.KindRemoveRole:  doer{c, c.gpuRemoved, c.removeGPU},
		plan.KindKubelet:     withDiff{doer{c, c.kubeletDone, c.kubelet}, c.diffFiles},
		plan.KindLabels:      labeler{c},
		plan.KindUncordon:    uncordoner{c},
		plan.KindCordon:      maintenanceCordon{c},
		plan.KindDrain:       drainer{c},
		plan.KindStopServing: doer{c, c.stopServingDone, c.stopServing},
		plan.KindMaintenance: maintainer{c},
		plan.KindReturn:      returner{c},
		plan.KindDNSAway:     maintenanceDNS{c, false},
		plan.KindDNSBack:     maintenanceDNS{c, true},
		plan.KindRemoveNode:  nodeRemover{c},
		plan.KindClean:       doer{c, c.cleanDone, c.clean},
		plan.KindPKI:         doer{c, c.pkiDone, c.pki},
		plan.KindSharedKeys:  doer{c, c.sharedKeysDone, c.sharedKeys},
		plan.KindRemoveVoter: voterRemover{c},
		plan.KindVoters:      doer{c, c.votersDone, c.voters},
		plan.KindSnapshot:    doer{c, c.snapshotDone, c.snapshot},
		plan.KindEtcd:        withDiff{doer{c, c.etcdDone, c.etcd}, c.diffFiles},
		plan.KindAPIServer:   withDiff{doer{c, c.apiServerDone, c.apiServer}, c.diffFiles},
		plan.KindBootstrap:   withDiff{doer{c, c.bootstrapDone, c.bootstrap}, c.diffBootstrap},
		plan.KindDNS:         withDiff{doer{c, c.dnsDone, c.dns}, c.diffDNS},
		plan.KindCommit:      doer{c, c.commitDone, c.commit},
		plan.KindRestore:     withMarks{doer{c, c.restoreDone, c.restore}, c},
		plan.KindBackup:      doer{c, c.backupDone, c.backup},
		plan.KindBackupTimer: onBackupMachine{withDiff{doer{c, c.backupTimerDone, c.backupTimer}, c.diffBackupTimer}},
		plan.KindRecover:     doer{c, c.recoverDone, c.recover},
		plan.KindReconcile:   doer{c, c.reconcileDone, c.reconcile},
		plan.KindTokens:      doer{c, c.tokensDone, c.tokens},
		plan.KindAdmit:       admitter{c},
		plan.KindOpen:        doer{c, c.openDone, c.open},
		plan.KindKeyAdd:      keyChanger{c, inspect.KeyAdd},
		plan.KindKeyUse:      keyChanger{c, inspect.KeyUse},
		plan.KindKeyEncrypt:  secretStorer{c},
		plan.KindKeyRemove:   keyChanger{c, inspect.KeyRemove},
		plan.KindRecord:      doer{c, c.recordDone, c.record},
		plan.KindServices:    doer{c, c.recordDone, c.record},
	}
}

// cluster runs the steps; each kind has a file.
type cluster struct {
	Deps
	etcds   etcd.Certificates
	answers answers
	gate    sync.Mutex // a change of the gate
}

// doer is the doer of a kind whose steps connect to their machine.
type doer struct {
	cluster *cluster
	done    func(ctx context.Context, h machine.Host, m config.Machine, s plan.Step) (bool, error)
	do      func(ctx context.Context, h machine.Host, m config.Machine, s plan.Step) error
}

func (d doer) Done(ctx context.Context, s plan.Step) (bool, error) {
	h, m, err := d.cluster.target(s)
	if err != nil {
		return false, err
	}
	return d.done(ctx, h, m, s)
}

func (d doer) Do(ctx context.Context, s plan.Step) error {
	h, m, err := d.cluster.target(s)
	if err != nil {
		return err
	}
	return d.do(ctx, h, m, s)
}

// target is the machine of a step: the one that it names, else the control-plane
// machine that stands for all.
func (c *cluster) target(s plan.Step) (machine.Host, config.Machine, error) {
	name := cmp.Or(s.Target, c.Seed, c.Config.ControlPlane().Hostname)
	for _, m := range c.Config.Layout.MachineList {
		if m.Hostname != name {
			continue
		}
		if h := c.Hosts[name]; h != nil {
			return h, m, nil
		}
		return nil, m, fmt.Errorf("machine %q is unreachable", name)
	}
	return nil, config.Machine{}, fmt.Errorf("machine %q not found in the configuration", name)
}

// controlPlane is the control-plane machine, of several the one that stands for all.
func (c *cluster) controlPlane() (machine.Host, config.Machine, error) { return c.target(plan.Step{}) }
