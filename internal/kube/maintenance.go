package kube

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/poll"
)

// moveTimeout is longer than the termination grace period of any pod of a service, and
// than a replacement takes that a disruption budget waits for.
const moveTimeout = 3 * time.Minute

// rolloutWait is how long MovePods waits until a rollout replaces pods that would come back.
const rolloutWait = 90 * time.Second

// MovePods evicts the pods on a cordoned machine of the Deployments and StatefulSets that
// PAI applied, so that others take their place elsewhere, and waits until they no longer
// exist. If the machine is off, it waits only until all of them are evicted. Pods that no
// other machine can run stay. So do pods that ignore the cordon, unless a rollout replaces
// them in time: it might wait for a pod on another machine that is off, and evicted
// pods would come back.
func (c *Client) MovePods(ctx context.Context, machine string, off bool) error {
	elsewhere, err := c.elsewhere(ctx, machine)
	if err != nil {
		return err
	}
	if !elsewhere.schedulable {
		c.progress("pods of services stay on %s: no other machine can run them", machine)
	}
	rolledOut, staying := time.Now().Add(rolloutWait), []string{}
	inventories, err := c.Inventories(ctx)
	if err != nil {
		return err
	}
	wait := poll.Wait{For: "the pods of services to leave " + machine, Timeout: moveTimeout, Every: time.Second}
	err = wait.Until(ctx, func(ctx context.Context) (bool, error) {
		left := 0
		staying = staying[:0]
		for name, inv := range inventories {
			workloads := slices.DeleteFunc(slices.Clone(inv.Objects), func(r Ref) bool { return r.Kind == "DaemonSet" })
			pods, err := c.WorkloadPods(ctx, name, workloads)
			if err != nil {
				return false, err
			}
			for _, p := range pods {
				ended := p.status.Phase == corev1.PodSucceeded || p.status.Phase == corev1.PodFailed
				if p.node != machine || ended || p.deleted && off || !elsewhere.runs(p) {
					continue
				}
				comesBack := p.ignoresCordons() && !p.avoidsMaintenance()
				if comesBack && time.Now().After(rolledOut) {
					staying = append(staying, p.Ref.Name)
					continue
				}
				left++
				if p.deleted || comesBack {
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
	if err == nil && len(staying) > 0 {
		c.progress("%s: not replaced by a rollout within %s, and stays on %s, because it ignores cordons", strings.Join(staying, ", "), rolloutWait, machine)
	}
	return err
}

// elsewhere says what the other machines can run that are not in maintenance: pods that
// ignore cordons, and pods that do not.
type elsewhere struct{ ready, schedulable bool }

func (e elsewhere) runs(p WorkloadPod) bool {
	return e.schedulable || e.ready && p.ignoresCordons()
}

func (c *Client) elsewhere(ctx context.Context, machine string) (can elsewhere, err error) {
	err = c.retry(ctx, "list the nodes", func(ctx context.Context) error {
		nodes, err := c.clientset.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		can = elsewhere{}
		for _, n := range nodes.Items {
			_, maintained := n.Labels[pai.LabelMaintenance]
			ready := n.Name != machine && !maintained && nodeReady(&n)
			can.ready = can.ready || ready
			can.schedulable = can.schedulable || ready && !n.Spec.Unschedulable
		}
		return nil
	})
	return can, err
}

// ignoresCordons reports whether the pod can start on a cordoned machine.
func (p WorkloadPod) ignoresCordons() bool {
	return slices.ContainsFunc(p.spec.Tolerations, func(t corev1.Toleration) bool {
		all := t.Key == "" && t.Operator == corev1.TolerationOpExists
		return (all || t.Key == corev1.TaintNodeUnschedulable) && (t.Effect == "" || t.Effect == corev1.TaintEffectNoSchedule)
	})
}

// avoidsMaintenance reports whether the pod never starts on a machine that is cordoned for
// maintenance.
func (p WorkloadPod) avoidsMaintenance() bool {
	a := p.spec.Affinity
	if a == nil || a.NodeAffinity == nil || a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution == nil {
		return false
	}
	terms := a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms
	return len(terms) > 0 && !slices.ContainsFunc(terms, func(t corev1.NodeSelectorTerm) bool {
		return !slices.ContainsFunc(t.MatchExpressions, func(e corev1.NodeSelectorRequirement) bool {
			return e.Key == pai.LabelMaintenance && e.Operator == corev1.NodeSelectorOpDoesNotExist
		})
	})
}

// leftError says how many pods are left; nil for none.
func leftError(pods int) error {
	if pods == 0 {
		return nil
	}
	return fmt.Errorf("%d pods of services still run there", pods)
}
