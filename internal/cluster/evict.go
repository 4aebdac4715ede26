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

// evictTimeout is longer than any pod's own time to end in peace.
const evictTimeout = 5 * time.Minute

// EvictJobs ends the pods of jobs on a machine, with the time that each has to
// end in peace, and waits until they are gone. Who calls it has the operator's
// word that they may be ended.
func EvictJobs(ctx context.Context, core kubernetes.Interface, name string) error {
	wait := poll.Wait{For: "the end of the jobs on " + name, Timeout: evictTimeout, Every: time.Second}
	return wait.Until(ctx, func(ctx context.Context) (bool, error) {
		pods, err := jobPods(ctx, core, name)
		if err != nil || len(pods) == 0 {
			return err == nil, err
		}
		if err := evictPods(ctx, core, pods); err != nil {
			return false, err
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

// evictPods asks for the end of those pods that nobody has asked to end yet. It
// evicts them and does not just delete them: the API server then marks each as
// disrupted, which tells its job that the task did not fail but was ended, and
// is to run again elsewhere.
func evictPods(ctx context.Context, core kubernetes.Interface, pods []corev1.Pod) error {
	var problems []error
	for _, p := range pods {
		if p.DeletionTimestamp != nil {
			continue
		}
		if err := kube.Evict(ctx, core, &p); err != nil && !apierrors.IsNotFound(err) {
			problems = append(problems, fmt.Errorf("end pod %s/%s: %w", p.Namespace, p.Name, err))
		}
	}
	return errors.Join(problems...)
}
