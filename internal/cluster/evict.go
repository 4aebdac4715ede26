package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/kubernetes"

	"pai.dev/pai/internal/pai"
)

// evictTimeout is longer than any pod's own time to end in peace.
const evictTimeout = 5 * time.Minute

// EvictJobs ends the pods of jobs on a machine, with the time that each has to
// end in peace, and waits until they are gone. Who calls it has the operator's
// word that they may be ended.
func EvictJobs(ctx context.Context, core kubernetes.Interface, name string) error {
	first := true
	return poll(ctx, "the end of the jobs on "+name, evictTimeout, time.Second, func(ctx context.Context) (bool, error) {
		pods, err := jobPods(ctx, core, name)
		if err != nil || len(pods) == 0 {
			return err == nil, err
		}
		if first {
			first = false
			return false, deletePods(ctx, core, pods)
		}
		return false, fmt.Errorf("%d pods are still there", len(pods))
	})
}

func jobPods(ctx context.Context, core kubernetes.Interface, name string) ([]corev1.Pod, error) {
	list, err := core.CoreV1().Pods(metav1.NamespaceAll).List(ctx, metav1.ListOptions{
		LabelSelector: pai.LabelJob, FieldSelector: fields.OneTermEqualSelector("spec.nodeName", name).String()})
	if err != nil {
		return nil, fmt.Errorf("list the pods of jobs on %s: %w", name, err)
	}
	var living []corev1.Pod
	for _, p := range list.Items {
		if p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed {
			living = append(living, p)
		}
	}
	return living, nil
}

func deletePods(ctx context.Context, core kubernetes.Interface, pods []corev1.Pod) error {
	var problems []error
	for _, p := range pods {
		err := core.CoreV1().Pods(p.Namespace).Delete(ctx, p.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(p.UID))})
		if err != nil && !apierrors.IsNotFound(err) {
			problems = append(problems, fmt.Errorf("end pod %s/%s: %w", p.Namespace, p.Name, err))
		}
	}
	return errors.Join(problems...)
}
