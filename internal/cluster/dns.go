package cluster

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

const dnsInventory = "cluster-dns"

// dnsDone reports whether CoreDNS has the version and all replicas are ready.
func (c *cluster) dnsDone(ctx context.Context, h machine.Host, _ config.Machine, s plan.Step) (bool, error) {
	i, err := c.content(ctx, h, s.To.Kubernetes())
	if err != nil {
		return false, err
	}
	k, err := c.Kube(ctx)
	if err != nil {
		return false, err
	}
	d, err := k.Clientset().AppsV1().Deployments("kube-system").Get(ctx, "coredns", metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read CoreDNS: %w", err)
	}
	if ok, err := c.applied(ctx, k, dnsInventory, func() (string, error) { return c.dnsDigest(ctx, h, s.To.Kubernetes()) }); err != nil || !ok {
		return false, err
	}
	containers := d.Spec.Template.Spec.Containers
	return len(containers) == 1 && containers[0].Image == i.Images[imageCoreDNS] &&
		d.Status.ObservedGeneration >= d.Generation && d.Status.UpdatedReplicas == d.Status.Replicas &&
		d.Status.AvailableReplicas == d.Status.Replicas && d.Status.Replicas > 0, nil
}

func (c *cluster) dns(ctx context.Context, h machine.Host, _ config.Machine, s plan.Step) error {
	objects, err := c.dnsObjects(ctx, h, s.To.Kubernetes())
	if err != nil {
		return err
	}
	if err := c.applyDNS(ctx, objects); err != nil {
		return err
	}
	k, err := c.Kube(ctx)
	if err != nil {
		return err
	}
	if err := k.Wait(ctx, objects); err != nil {
		return fmt.Errorf("wait for CoreDNS: %w", err)
	}
	return nil
}

func (c *cluster) applyDNS(ctx context.Context, objects []*unstructured.Unstructured) error {
	digest, err := digestOf(objects)
	if err != nil {
		return err
	}
	k, err := c.Kube(ctx)
	if err != nil {
		return err
	}
	if _, err := k.Apply(ctx, objects, kube.ApplyOptions{Inventory: dnsInventory, Prune: true, Record: digest}); err != nil {
		return fmt.Errorf("apply CoreDNS: %w", err)
	}
	return nil
}

func (c *cluster) dnsDigest(ctx context.Context, h machine.Host, v pai.KubernetesVersion) (string, error) {
	objects, err := c.dnsObjects(ctx, h, v)
	if err != nil {
		return "", err
	}
	digest, err := digestOf(objects)
	return digest[recordDigest], err
}

func (c *cluster) dnsObjects(ctx context.Context, h machine.Host, v pai.KubernetesVersion) ([]*unstructured.Unstructured, error) {
	i, err := c.content(ctx, h, v)
	if err != nil {
		return nil, err
	}
	forward, err := c.allHaveResolver(ctx, machineChange{})
	if err != nil {
		return nil, err
	}
	avoids, err := c.dnsAvoidsMaintenance(ctx, i.Upstream, machineChange{})
	if err != nil {
		return nil, err
	}
	return c.renderDNS(dnsOptions{image: i.Images[imageCoreDNS], forward: forward, avoidsMaintenance: avoids})
}

// machineChange is a machine whose maintenance begins or ends in a step; empty for none.
type machineChange struct{ leaves, returns string }

// dnsAvoidsMaintenance reports whether no pod of CoreDNS starts on a machine in
// maintenance. They ignore cordons, so one would replace another on a machine that is to be
// emptied, and wait forever on one that is off. Before v0.11, CoreDNS is without that, and
// is changed only while a machine is in maintenance.
func (c *cluster) dnsAvoidsMaintenance(ctx context.Context, upstream string, change machineChange) (bool, error) {
	if sinceV011(upstream) {
		return true, nil
	}
	k, err := c.Kube(ctx)
	if err != nil {
		return false, err
	}
	nodes, err := k.Clientset().CoreV1().Nodes().List(ctx, metav1.ListOptions{LabelSelector: pai.LabelMaintenance})
	if err != nil {
		return false, fmt.Errorf("list the machines in maintenance: %w", err)
	}
	return slices.ContainsFunc(nodes.Items, func(n corev1.Node) bool { return n.Name != change.returns }), nil
}

// dnsOptions are what the objects of CoreDNS depend on besides the configuration.
type dnsOptions struct {
	image                      string
	forward, avoidsMaintenance bool
}

func (c *cluster) renderDNS(o dnsOptions) ([]*unstructured.Unstructured, error) {
	return renderManifest("manifests/coredns.yaml", map[string]any{
		"Domain": clusterDomain, "ClusterDNS": c.Config.Kubernetes.ClusterDNS,
		"Image": o.image, "Replicas": dnsReplicas(len(c.Config.Layout.MachineList)), "Forward": o.forward,
		"AvoidsMaintenance": o.avoidsMaintenance,
	})
}

// dnsReplicas is 2 if there are several machines, so that one can fail.
func dnsReplicas(machines int) int { return min(machines, 2) }

// allHaveResolver reports whether CoreDNS can forward on every machine. It does
// not start if the resolver does not exist. Machines in maintenance are not asked: it does
// not start there, and a new disk has no resolver, or nothing that can be asked.
func (c *cluster) allHaveResolver(ctx context.Context, change machineChange) (bool, error) {
	records, err := c.records()
	if err != nil {
		return false, err
	}
	maintained, err := Maintained(ctx, records)
	if err != nil {
		return false, err
	}
	var lacking atomic.Bool
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(expectLimit)
	for _, m := range c.Config.Layout.MachineList {
		h := c.Hosts[m.Hostname]
		_, away := maintained[m.Hostname]
		if h == nil || m.Hostname == change.leaves || away && m.Hostname != change.returns {
			continue // unreachable machines are unknown
		}
		group.Go(func() error {
			f, err := c.facts(ctx, h)
			if err == nil && !f.Resolver {
				lacking.Store(true)
			}
			return err
		})
	}
	err = group.Wait()
	return err == nil && !lacking.Load(), err
}
