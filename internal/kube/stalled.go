package kube

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"pai.dev/pai/internal/pai"
)

// crashLoop is the reason of a container that ended again and again. Its kubelet
// starts it later and later, after up to five minutes.
const crashLoop = "CrashLoopBackOff"

// WorkloadPod is a pod of a workload that was applied, as it was observed.
type WorkloadPod struct {
	Ref Ref
	UID types.UID

	version string
	status  corev1.PodStatus
	deleted bool
	node    string
	spec    corev1.PodSpec
}

// WorkloadPodOf is what was observed of a pod.
func WorkloadPodOf(p *corev1.Pod) WorkloadPod {
	return WorkloadPod{Ref: Ref{Version: "v1", Kind: "Pod", Namespace: p.Namespace, Name: p.Name}, UID: p.UID,
		version: p.ResourceVersion, status: p.Status, deleted: p.DeletionTimestamp != nil, node: p.Spec.NodeName, spec: p.Spec}
}

// WorkloadPods lists the pods of workloads that have the mark of an inventory. A pod
// belongs to a workload if its owner is the workload, or a ReplicaSet of it, by UID:
// any user can give a pod the labels of a service. The pods come from the cache of the
// API server.
func (c *Client) WorkloadPods(ctx context.Context, inventory string, workloads []Ref) ([]WorkloadPod, error) {
	owners := map[string][]types.UID{} // by namespace
	for _, w := range workloads {
		if !isWorkload(w) {
			continue
		}
		obj, err := c.workload(ctx, w)
		if apierrors.IsNotFound(err) || err == nil && obj.GetAnnotations()[AnnotationInventory] != inventory {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", w, err)
		}
		owners[w.Namespace] = append(owners[w.Namespace], obj.GetUID())
	}
	cached := metav1.ListOptions{ResourceVersion: "0"}
	var found []WorkloadPod
	for namespace, uids := range owners {
		sets, err := c.clientset.AppsV1().ReplicaSets(namespace).List(ctx, cached)
		if err != nil {
			return nil, fmt.Errorf("list the ReplicaSets of %s: %w", namespace, err)
		}
		all := slices.Clone(uids)
		for i := range sets.Items {
			if controlledBy(&sets.Items[i], uids) {
				all = append(all, sets.Items[i].UID)
			}
		}
		pods, err := c.clientset.CoreV1().Pods(namespace).List(ctx, cached)
		if err != nil {
			return nil, fmt.Errorf("list the pods of %s: %w", namespace, err)
		}
		for i := range pods.Items {
			p := &pods.Items[i]
			if _, job := p.Labels[pai.LabelJob]; !job && controlledBy(p, all) {
				found = append(found, WorkloadPodOf(p))
			}
		}
	}
	return found, nil
}

// workload reads a Deployment, DaemonSet, or StatefulSet.
func (c *Client) workload(ctx context.Context, w Ref) (metav1.Object, error) {
	apps := c.clientset.AppsV1()
	switch w.Kind {
	case "Deployment":
		return apps.Deployments(w.Namespace).Get(ctx, w.Name, metav1.GetOptions{})
	case "DaemonSet":
		return apps.DaemonSets(w.Namespace).Get(ctx, w.Name, metav1.GetOptions{})
	default:
		return apps.StatefulSets(w.Namespace).Get(ctx, w.Name, metav1.GetOptions{})
	}
}

func controlledBy(o metav1.Object, owners []types.UID) bool {
	owner := metav1.GetControllerOf(o)
	return owner != nil && slices.Contains(owners, owner.UID)
}

// Stalled returns why a pod does not become ready soon, although it might if it was
// started again; empty if it does, or if something in it is ready. A container that
// waits after crashes has nothing to lose. One that runs is stalled if it was not ready
// for at least unready; 0 for never.
func (p WorkloadPod) Stalled(now time.Time, unready time.Duration) string {
	statuses := slices.Concat(p.status.InitContainerStatuses, p.status.ContainerStatuses)
	if p.deleted || slices.ContainsFunc(p.status.ContainerStatuses, func(s corev1.ContainerStatus) bool { return s.Ready }) {
		return ""
	}
	for _, s := range statuses {
		switch {
		case s.State.Waiting != nil && s.State.Waiting.Reason == crashLoop:
			return fmt.Sprintf("container %s %s", s.Name, containerTrouble(s))
		case s.State.Running != nil && unready > 0 && now.Sub(s.State.Running.StartedAt.Time) >= unready:
			return fmt.Sprintf("container %s has run for %s and is not ready", s.Name, now.Sub(s.State.Running.StartedAt.Time).Round(time.Second))
		}
	}
	return ""
}

// RestartPod deletes a pod that nothing changed since it was observed, so that its
// workload makes another one. It does nothing if the pod changed, or if its machine is
// not ready: nothing would end there.
func (c *Client) RestartPod(ctx context.Context, p WorkloadPod) (restarted bool, err error) {
	err = c.retry(ctx, "restart "+p.Ref.String(), func(ctx context.Context) error {
		node, err := c.clientset.CoreV1().Nodes().Get(ctx, p.node, metav1.GetOptions{})
		if apierrors.IsNotFound(err) || err == nil && !nodeReady(node) {
			return nil
		}
		if err != nil {
			return err
		}
		err = c.clientset.CoreV1().Pods(p.Ref.Namespace).Delete(ctx, p.Ref.Name, metav1.DeleteOptions{
			Preconditions: &metav1.Preconditions{UID: &p.UID, ResourceVersion: &p.version}})
		restarted = err == nil
		if apierrors.IsConflict(err) {
			return nil
		}
		return ignoreNotFound(err)
	})
	return restarted, err
}

func nodeReady(n *corev1.Node) bool {
	return slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	})
}

// ExplainWorkloads returns the workloads among objs that exist and are not ready, with
// the reasons of their pods.
func (c *Client) ExplainWorkloads(ctx context.Context, workloads []Ref) []Unready {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), explainTimeout)
	defer cancel()
	unready, err := c.WithRetryTimeout(explainTimeout).Unready(ctx, slices.DeleteFunc(slices.Clone(workloads), func(r Ref) bool { return !isWorkload(r) }))
	if err != nil {
		return nil // the error that is being explained says more
	}
	return c.explained(ctx, slices.DeleteFunc(unready, func(u Unready) bool { return u.Reason == notFound }))
}
