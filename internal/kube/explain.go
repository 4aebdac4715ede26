package kube

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// explainTimeout bounds the reads of an explanation, which can follow the end of
// a wait.
const explainTimeout = 10 * time.Second

// explained adds the reasons of its pods to each unready workload.
func (c *Client) explained(ctx context.Context, unready []Unready) []Unready {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), explainTimeout)
	defer cancel()
	out := slices.Clone(unready)
	for i, u := range out {
		switch u.Object.Kind {
		case "Deployment", "DaemonSet", "StatefulSet", "ReplicaSet", "Job":
			if why := c.explainPods(ctx, u.Object); why != "" {
				out[i].Reason = u.Reason + "; " + why
			}
		}
	}
	return out
}

// explainPods returns why pods of a workload are not ready, newest pods first. If
// it has no pods, it returns why its controller could not make any.
func (c *Client) explainPods(ctx context.Context, workload Ref) string {
	obj, err := c.getOnce(ctx, workload)
	if err != nil || obj == nil {
		return ""
	}
	selector, found, _ := unstructured.NestedMap(obj.Object, "spec", "selector")
	if !found {
		return ""
	}
	labelSelector, err := toLabelSelector(selector)
	if err != nil {
		return ""
	}
	pods, err := c.clientset.CoreV1().Pods(workload.Namespace).List(ctx, metav1.ListOptions{LabelSelector: labelSelector})
	if err != nil {
		return "its pods cannot be read: " + err.Error()
	}
	if len(pods.Items) == 0 {
		return c.explainNoPods(ctx, workload, obj, labelSelector)
	}
	slices.SortFunc(pods.Items, func(a, b corev1.Pod) int {
		return cmp.Or(b.CreationTimestamp.Compare(a.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
	var reasons []string
	for _, pod := range pods.Items {
		if why := podTrouble(&pod); why != "" {
			reasons = append(reasons, "pod "+pod.Name+": "+why)
		}
	}
	const most = 4
	if len(reasons) > most {
		reasons = append(reasons[:most], fmt.Sprintf("and %d more pods", len(reasons)-most))
	}
	return strings.Join(reasons, "; ")
}

func (c *Client) explainNoPods(ctx context.Context, workload Ref, obj *unstructured.Unstructured, selector string) string {
	if cond := condition(obj, "ReplicaFailure"); cond != nil {
		return fmt.Sprintf("it has no pods: %v", cond["message"])
	}
	sets, err := c.clientset.AppsV1().ReplicaSets(workload.Namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err == nil {
		for _, set := range sets.Items {
			for _, cond := range set.Status.Conditions {
				if cond.Type == "ReplicaFailure" {
					return "it has no pods: " + cond.Message
				}
			}
		}
	}
	return "it has no pods"
}

// podTrouble returns why a pod is not ready; empty if it is.
func podTrouble(pod *corev1.Pod) string {
	if pod.DeletionTimestamp != nil {
		return "it is being deleted"
	}
	statuses := slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses)
	var reasons []string
	for _, s := range statuses {
		if why := containerTrouble(s); why != "" {
			reasons = append(reasons, "container "+s.Name+" "+why)
		}
	}
	if len(reasons) > 0 {
		return strings.Join(reasons, ", ")
	}
	if pod.Status.Reason != "" {
		return pod.Status.Reason + ": " + pod.Status.Message
	}
	for _, cond := range pod.Status.Conditions {
		if cond.Status != corev1.ConditionTrue && cond.Type == corev1.PodScheduled {
			return "not scheduled: " + cond.Message
		}
	}
	if pod.Status.Phase == corev1.PodPending && pod.Spec.NodeName != "" {
		return "not started yet on " + pod.Spec.NodeName
	}
	return ""
}

func containerTrouble(s corev1.ContainerStatus) string {
	var why string
	switch {
	case s.State.Waiting != nil:
		why = "waiting: " + join(s.State.Waiting.Reason, s.State.Waiting.Message)
	case s.State.Terminated != nil && s.State.Terminated.ExitCode != 0:
		return fmt.Sprintf("ended with code %d: %s", s.State.Terminated.ExitCode, join(s.State.Terminated.Reason, ends(s.State.Terminated.Message)))
	case s.State.Running != nil && !s.Ready:
		why = "runs but is not ready"
	default:
		return ""
	}
	if last := s.LastTerminationState.Terminated; last != nil {
		why += fmt.Sprintf(" (before, it ended with code %d: %s)", last.ExitCode, join(last.Reason, ends(last.Message)))
	}
	return why
}

func join(reason, message string) string {
	if reason == "" || message == "" {
		return reason + message
	}
	return reason + ": " + message
}

// ends shortens the last output of a container to its first and last line: an
// error about a flag comes before the usage, the place of a panic at the end.
func ends(message string) string {
	lines := strings.Split(strings.TrimSpace(message), "\n")
	first, last := shorten(lines[0]), shorten(lines[len(lines)-1])
	if len(lines) == 1 {
		return first
	}
	return first + " … " + last
}

func shorten(line string) string {
	const most = 300
	line = strings.TrimSpace(line)
	if len(line) > most {
		return line[:most] + "…"
	}
	return line
}

func toLabelSelector(selector map[string]any) (string, error) {
	var typed metav1.LabelSelector
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(selector, &typed); err != nil {
		return "", err
	}
	parsed, err := metav1.LabelSelectorAsSelector(&typed)
	if err != nil {
		return "", err
	}
	return parsed.String(), nil
}
