package cluster

import (
	"context"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/plan"
)

// maintenanceDNS changes where pods of CoreDNS start, and where they forward, for the
// maintenance of a machine or for its return. What CoreDNS runs stays: its image is that of
// the Deployment, so that nothing depends on the builds and versions of the machines.
type maintenanceDNS struct {
	*cluster
	returns bool // the machine comes back
}

// Done does not wait for pods: they can be on a machine that is off.
func (c maintenanceDNS) Done(ctx context.Context, s plan.Step) (bool, error) {
	objects, d, err := c.objects(ctx, s)
	if err != nil || d == nil {
		return err == nil, err
	}
	k, err := c.Kube(ctx)
	if err != nil {
		return false, err
	}
	ok, err := c.applied(ctx, k, dnsInventory, func() (string, error) {
		digest, err := digestOf(objects)
		return digest[recordDigest], err
	})
	return ok && d.Status.ObservedGeneration >= d.Generation, err
}

// Do lets pods start on a machine only when they can run there. A machine that waits for
// its jobs was never away, and can be off. One that has left the layout does not come back:
// CoreDNS is then what its release has without the machine.
func (c maintenanceDNS) Do(ctx context.Context, s plan.Step) error {
	inLayout := slices.ContainsFunc(c.Config.Layout.MachineList, func(m config.Machine) bool { return m.Hostname == s.Target })
	if c.returns && inLayout {
		waits, err := c.waitsForMaintenance(ctx, s.Target)
		if err != nil {
			return err
		}
		if !waits {
			if err := c.awaitReady(ctx, s.Target); err != nil {
				return err
			}
		}
	}
	objects, d, err := c.objects(ctx, s)
	if err != nil || d == nil {
		return err
	}
	return c.applyDNS(ctx, objects)
}

func (c maintenanceDNS) Diff(ctx context.Context, s plan.Step) ([]plan.StepDiff, error) {
	objects, d, err := c.objects(ctx, s)
	if err != nil || d == nil {
		return nil, err
	}
	return c.diffObjects(ctx, objects, kube.ApplyOptions{Inventory: dnsInventory, Prune: true})
}

// objects are those of CoreDNS after the step, and the Deployment as it is. Both are nil if
// there is no CoreDNS: a boot makes it.
func (c maintenanceDNS) objects(ctx context.Context, s plan.Step) ([]*unstructured.Unstructured, *appsv1.Deployment, error) {
	k, err := c.Kube(ctx)
	if err != nil {
		return nil, nil, err
	}
	d, err := k.Clientset().AppsV1().Deployments("kube-system").Get(ctx, "coredns", metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read CoreDNS: %w", err)
	}
	at := slices.IndexFunc(d.Spec.Template.Spec.Containers, func(c corev1.Container) bool { return c.Name == "coredns" })
	if at < 0 {
		return nil, nil, fmt.Errorf("the Deployment of CoreDNS has no container %q; to repair it, run: paictl cluster k8s-bootup", "coredns")
	}
	o := dnsOptions{image: d.Spec.Template.Spec.Containers[at].Image, avoidsMaintenance: true}
	change := machineChange{leaves: s.Target}
	if c.returns {
		change = machineChange{returns: s.Target}
		h, _, err := c.controlPlane()
		if err != nil {
			return nil, nil, err
		}
		i, err := c.content(ctx, h, s.To.Kubernetes())
		if err != nil {
			return nil, nil, err
		}
		if o.avoidsMaintenance, err = c.dnsAvoidsMaintenance(ctx, i.Upstream, change); err != nil {
			return nil, nil, err
		}
	}
	if o.forward, err = c.allHaveResolver(ctx, change); err != nil {
		return nil, nil, err
	}
	objects, err := c.renderDNS(o)
	return objects, d, err
}
