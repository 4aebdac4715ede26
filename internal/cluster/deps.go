package cluster

import (
	"context"
	"fmt"
	"io"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/release"
)

// Bundle is what this package needs of a *release.Bundle.
type Bundle interface {
	Digest() string
	Manifest() release.Manifest
	// WritePrograms writes a tar of bin/… and cni/….
	WritePrograms(ctx context.Context, w io.Writer) error
	// WritePackedPrograms writes the same as zstd frames, each with a tar.
	WritePackedPrograms(ctx context.Context, w io.Writer) error
	// WriteImages writes an OCI archive of the named images, of all without names.
	WriteImages(ctx context.Context, w io.Writer, names ...string) error
	ImageNames() []string
	// Image is an image's full name: "kueue" → "pai.local/kueue:v0.14.0".
	Image(name string) string
}

// Deps is what the doers work with.
type Deps struct {
	Config *config.Config
	// Hosts are the machines by name.
	Hosts map[string]machine.Host
	// Bundle brings programs and images; nil for steps that only take away.
	Bundle Bundle
	// Kube gives a client of the API.
	Kube func(ctx context.Context) (*kube.Client, error)
	// Progress reports what takes long; it may be nil.
	Progress func(format string, args ...any)
	// Kubeadm runs a script with $kubeadm and $config of the bundle's version
	// somewhere else than on a machine. It is set where steps are only shown:
	// their programs need not be on the machines yet.
	Kubeadm func(ctx context.Context, config []byte, script string) (string, error)
}

// Doers are the doers of the machine and cluster steps.
func Doers(d Deps) plan.Doers {
	if d.Progress == nil {
		d.Progress = func(string, ...any) {}
	}
	c := &cluster{Deps: d}
	return plan.Doers{
		plan.KindPrepare:   doer{c.prepareDone, c.prepare},
		plan.KindPrograms:  doer{c.programsDone, c.programs},
		plan.KindImages:    doer{c.imagesDone, c.images},
		plan.KindRole:      showing{doer{c.roleDone, c.role}, c.diffFiles},
		plan.KindKubelet:   showing{doer{c.kubeletDone, c.kubelet}, c.diffFiles},
		plan.KindUncordon:  doer{c.uncordonDone, c.uncordon},
		plan.KindClean:     doer{c.cleanDone, c.clean},
		plan.KindPKI:       doer{c.pkiDone, c.pki},
		plan.KindSnapshot:  doer{c.snapshotDone, c.snapshot},
		plan.KindEtcd:      showing{doer{c.etcdDone, c.etcd}, c.diffFiles},
		plan.KindAPIServer: showing{doer{c.apiServerDone, c.apiServer}, c.diffFiles},
		plan.KindBootstrap: showing{doer{c.bootstrapDone, c.bootstrap}, c.diffBootstrap},
		plan.KindDNS:       showing{doer{c.dnsDone, c.dns}, c.diffDNS},
		plan.KindCommit:    doer{c.commitDone, c.commit},
		plan.KindRestore:   doer{c.restoreDone, c.restore},
		plan.KindRecord:    doer{c.recordDone, c.record},
		plan.KindServices:  doer{c.recordDone, c.record},
	}
}

// cluster carries out the steps; each kind is a file.
type cluster struct {
	Deps
}

type doer struct {
	done func(ctx context.Context, s plan.Step) (bool, error)
	do   func(ctx context.Context, s plan.Step) error
}

func (d doer) Done(ctx context.Context, s plan.Step) (bool, error) { return d.done(ctx, s) }
func (d doer) Do(ctx context.Context, s plan.Step) error           { return d.do(ctx, s) }

// target is the machine that a step is about: the one it names, else the one
// that carries the control plane.
func (c *cluster) target(s plan.Step) (machine.Host, config.Machine, error) {
	name := s.Target
	if name == "" {
		name = c.Config.ControlPlane().Hostname
	}
	for _, m := range c.Config.Layout.MachineList {
		if m.Hostname != name {
			continue
		}
		if h := c.Hosts[name]; h != nil {
			return h, m, nil
		}
		return nil, m, fmt.Errorf("machine %q does not answer", name)
	}
	return nil, config.Machine{}, fmt.Errorf("the configuration has no machine %q", name)
}

// master is the machine that carries the control plane.
func (c *cluster) master() (machine.Host, config.Machine, error) { return c.target(plan.Step{}) }
