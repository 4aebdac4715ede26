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

	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/poll"
)

// evictTimeout is longer than the termination grace period of pods.
const evictTimeout = 5 * time.Minute

// EvictJobs evicts the pods of jobs on a machine, with the termination grace
// period of each, and waits until they are deleted. The operator must have
// accepted that risk.
func EvictJobs(ctx context.Context, core kubernetes.Interface, name string) error {
	wait := poll.Wait{For: "the eviction of the jobs on " + name, Timeout: evictTimeout, Every: time.Second}
	return wait.Until(ctx, func(ctx context.Context) (bool, error) {
		pods, err := jobPods(ctx, core, name)
		if err != nil || len(pods) == 0 {
			return err == nil, err
		}
		if err := evictPods(ctx, core, pods); err != nil {
			return false, err
		}
		return false, fmt.Errorf("%d pods still exist", len(pods))
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

// evictPods evicts the pods that do not terminate yet. It does not just delete
// them: the API server marks an evicted pod as disrupted, so its task does not
// count as failed and runs again elsewhere.
func evictPods(ctx context.Context, core kubernetes.Interface, pods []corev1.Pod) error {
	var problems []error
	for _, p := range pods {
		if p.DeletionTimestamp != nil {
			continue
		}
		if err := kube.Evict(ctx, core, &p); err != nil && !apierrors.IsNotFound(err) {
			problems = append(problems, fmt.Errorf("evict pod %s/%s: %w", p.Namespace, p.Name, err))
		}
	}
	return errors.Join(problems...)
}
