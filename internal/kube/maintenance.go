package kube

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pai.dev/pai/internal/poll"
)

// moveTimeout is longer than the termination grace period of any pod of a service, and
// than a replacement takes that a disruption budget waits for.
const moveTimeout = 3 * time.Minute

// MovePods evicts the pods on a cordoned machine of the Deployments and StatefulSets that
// PAI applied, so that others take their place elsewhere, and waits until they no longer
// exist. If the machine is off, it waits only until all of them are evicted. If no other
// machine can run them, they stay.
func (c *Client) MovePods(ctx context.Context, machine string, off bool) error {
	elsewhere, err := c.runsElsewhere(ctx, machine)
	if err != nil {
		return err
	}
	if !elsewhere {
		c.progress("pods of services stay on %s: no other machine can run them", machine)
		return nil
	}
	inventories, err := c.Inventories(ctx)
	if err != nil {
		return err
	}
	wait := poll.Wait{For: "the pods of services to leave " + machine, Timeout: moveTimeout, Every: time.Second}
	return wait.Until(ctx, func(ctx context.Context) (bool, error) {
		left := 0
		for name, inv := range inventories {
			workloads := slices.DeleteFunc(slices.Clone(inv.Objects), func(r Ref) bool { return r.Kind == "DaemonSet" })
			pods, err := c.WorkloadPods(ctx, name, workloads)
			if err != nil {
				return false, err
			}
			for _, p := range pods {
				ended := p.status.Phase == corev1.PodSucceeded || p.status.Phase == corev1.PodFailed
				if p.node != machine || ended || p.deleted && off {
					continue
				}
				left++
				if p.deleted {
					continue
				}
				pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: p.Ref.Namespace, Name: p.Ref.Name, UID: p.UID}}
				if err := Evict(ctx, c.clientset, pod); err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) && !apierrors.IsTooManyRequests(err) {
					return false, fmt.Errorf("evict %s: %w", p.Ref, err)
				}
			}
		}
		return left == 0, leftError(left)
	})
}

// runsElsewhere reports whether another machine can run pods.
func (c *Client) runsElsewhere(ctx context.Context, machine string) (can bool, err error) {
	err = c.retry(ctx, "list the nodes", func(ctx context.Context) error {
		nodes, err := c.clientset.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		can = slices.ContainsFunc(nodes.Items, func(n corev1.Node) bool {
			return n.Name != machine && !n.Spec.Unschedulable && nodeReady(&n)
		})
		return nil
	})
	return can, err
}

// leftError says how many pods are left; nil for none.
func leftError(pods int) error {
	if pods == 0 {
		return nil
	}
	return fmt.Errorf("%d pods of services still run there", pods)
}
