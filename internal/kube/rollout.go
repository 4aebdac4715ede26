package kube

import (
	"context"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"pai.dev/pai/internal/pai"
)

// rollout is the state of a DaemonSet beside the machines in maintenance.
type rollout struct {
	// ready is set if there are machines in maintenance, and the DaemonSet is ready on all
	// others.
	ready bool
	// blocked are pods of an older template on the other machines that the controller would
	// replace now if the machines in maintenance did not count.
	blocked []corev1.Pod
}

// rolloutOf reads the pods of a DaemonSet that is not ready.
func (c *Client) rolloutOf(ctx context.Context, obj *unstructured.Unstructured) (r rollout, err error) {
	set := &appsv1.DaemonSet{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(obj.Object, set); err != nil {
		return r, fmt.Errorf("read %s: %w", RefOf(obj), err)
	}
	if set.Status.ObservedGeneration < set.Generation {
		return r, nil
	}
	err = c.retry(ctx, "read the machines of "+RefOf(obj).String(), func(ctx context.Context) error {
		r = rollout{}
		cached := metav1.ListOptions{ResourceVersion: "0"}
		nodes, err := c.clientset.CoreV1().Nodes().List(ctx, cached)
		if err != nil {
			return err
		}
		left := map[string]bool{}
		for _, n := range nodes.Items {
			if n.Annotations[pai.AnnotationInMaintenance] != "" {
				left[n.Name] = true
			}
		}
		if len(left) == 0 {
			return nil
		}
		// Not from the cache: an older one would say that older pods are up to date.
		revisions, err := c.clientset.AppsV1().ControllerRevisions(set.Namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		pods, err := c.clientset.CoreV1().Pods(set.Namespace).List(ctx, cached)
		if err != nil {
			return err
		}
		r = beside(set, templateOf(set, revisions.Items), pods.Items, left)
		return nil
	})
	return r, err
}

// templateOf is the hash of the present template of a DaemonSet, which the pods of it have;
// empty if it is unknown. After a rollback, the template is an old one, and its pods are up to
// date: the newest revision has the hash, and no generation does.
func templateOf(set *appsv1.DaemonSet, revisions []appsv1.ControllerRevision) string {
	newest, hash := int64(0), ""
	for i := range revisions {
		if r := &revisions[i]; controlledBy(r, []types.UID{set.UID}) && r.Revision > newest {
			newest, hash = r.Revision, r.Labels[appsv1.ControllerRevisionHashLabelKey]
		}
	}
	return hash
}

// beside looks at the pods of a DaemonSet beside the machines that are left out. The
// controller counts these as well: one that is off, or that lacks the image, takes all of a
// small maxUnavailable, and no other machine gets its new pod.
func beside(set *appsv1.DaemonSet, hash string, pods []corev1.Pod, left map[string]bool) rollout {
	if hash == "" {
		return rollout{}
	}
	desired := int(set.Status.DesiredNumberScheduled)
	seen, onLeft, leftReady, ready := map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]bool{}
	var replaceable []corev1.Pod
	for i := range pods {
		p := &pods[i]
		if !controlledBy(p, []types.UID{set.UID}) {
			continue
		}
		machine, good := p.Spec.NodeName, p.DeletionTimestamp == nil && podReady(p)
		seen[machine] = true
		switch {
		case left[machine]:
			onLeft[machine], leftReady[machine] = true, leftReady[machine] || good
		case good && p.Labels[appsv1.ControllerRevisionHashLabelKey] == hash:
			ready[machine] = true
		case good:
			replaceable = append(replaceable, *p)
		}
	}
	if len(ready)+len(onLeft) >= desired {
		return rollout{ready: true}
	}
	off := len(onLeft)
	for _, is := range leftReady {
		if is {
			off--
		}
	}
	most := maxUnavailable(set, desired)
	if off < most {
		return rollout{} // the controller continues
	}
	unready := max(desired, len(seen)) - len(onLeft) - len(ready) - len(replaceable)
	return rollout{blocked: replaceable[:min(len(replaceable), max(most-unready, 0))]}
}

// maxUnavailable is how many pods of a DaemonSet can be unavailable in a rollout, as its
// controller counts; 0 for one that has no rollout.
func maxUnavailable(set *appsv1.DaemonSet, desired int) int {
	s := set.Spec.UpdateStrategy
	if s.Type != appsv1.RollingUpdateDaemonSetStrategyType || s.RollingUpdate == nil || s.RollingUpdate.MaxUnavailable == nil {
		return 0
	}
	most, err := intstr.GetScaledValueFromIntOrPercent(s.RollingUpdate.MaxUnavailable, desired, true)
	if err != nil {
		return 0
	}
	return most
}

// replaceBeside replaces the pods that the controller of a DaemonSet does not, because of
// machines in maintenance. Each was observed as ready, and no more than the DaemonSet allows
// are unavailable at once.
func (c *Client) replaceBeside(ctx context.Context, r rollout) error {
	for i := range r.blocked {
		if _, err := c.RestartPod(ctx, WorkloadPodOf(&r.blocked[i])); err != nil {
			return err
		}
	}
	return nil
}

func podReady(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}
