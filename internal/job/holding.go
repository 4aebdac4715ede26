package job

import (
	"fmt"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"
	jobset "sigs.k8s.io/jobset/api/jobset/v1alpha2"

	"pai.dev/pai/internal/pai"
)

// Holding is what a job holds of the quota of its virtual cluster.
type Holding struct {
	pai.JobRef
	// Resources are what Kueue counts; tasks are its pods.
	Resources corev1.ResourceList
	// Until is when its time limit ends it at the latest; zero if nothing says when it ends.
	Until time.Time
}

// ReadHolding returns what the job of a JobSet holds. A job that waits in the queue or has
// ended holds nothing, and no such job has resources.
func ReadHolding(obj *unstructured.Unstructured) (Holding, error) {
	var js jobset.JobSet
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(obj.Object, &js); err != nil {
		return Holding{}, fmt.Errorf("read JobSet %s/%s: %w", obj.GetNamespace(), obj.GetName(), err)
	}
	h := Holding{JobRef: pai.JobRef{User: js.Labels[pai.LabelUser], Name: js.Annotations[pai.AnnotationJobName], VirtualCluster: js.Labels[pai.LabelVirtualCluster]}}
	if !holds(js) {
		return h, nil
	}
	h.Resources = corev1.ResourceList{}
	for _, rj := range js.Spec.ReplicatedJobs {
		if !succeeded(js, rj.Name) {
			h.add(rj.Template.Spec)
		}
	}
	h.Until = endOf(js)
	return h, nil
}

// holds reports whether Kueue counts a job: it is admitted and has not ended, or it is being
// stopped and its pods have not ended yet.
func holds(js jobset.JobSet) bool {
	for _, ended := range []jobset.JobSetConditionType{jobset.JobSetCompleted, jobset.JobSetFailed} {
		if isTrue(meta.FindStatusCondition(js.Status.Conditions, string(ended))) {
			return false
		}
	}
	if !ptr.Deref(js.Spec.Suspend, false) {
		return true
	}
	for _, s := range js.Status.ReplicatedJobsStatus {
		if s.Active > 0 {
			return true
		}
	}
	return false
}

// succeeded reports whether all tasks of a role have succeeded: Kueue counts them no longer.
func succeeded(js jobset.JobSet, role string) bool {
	for _, s := range js.Status.ReplicatedJobsStatus {
		if s.Name == role {
			return s.Succeeded > 0
		}
	}
	return false
}

// add adds what the tasks of a role hold.
func (h Holding) add(role batchv1.JobSpec) {
	tasks := int64(ptr.Deref(role.Parallelism, 1))
	each := corev1.ResourceList{corev1.ResourcePods: *resource.NewQuantity(1, resource.DecimalSI)}
	for _, c := range role.Template.Spec.Containers {
		for name, quantity := range c.Resources.Requests {
			sum := each[name]
			sum.Add(quantity)
			each[name] = sum
		}
	}
	for name, quantity := range each {
		sum := h.Resources[name]
		quantity.Mul(tasks)
		sum.Add(quantity)
		h.Resources[name] = sum
	}
}

// endOf is when the time limit of a job ends it; zero if it has none. A job that can be
// started again continues after its limit.
func endOf(js jobset.JobSet) time.Time {
	if len(js.Spec.ReplicatedJobs) == 0 || js.Spec.FailurePolicy != nil && js.Spec.FailurePolicy.MaxRestarts > 0 {
		return time.Time{}
	}
	limit := js.Spec.ReplicatedJobs[0].Template.Spec.ActiveDeadlineSeconds
	resumed := meta.FindStatusCondition(js.Status.Conditions, string(jobset.JobSetSuspended))
	if limit == nil || resumed == nil || isTrue(resumed) {
		return time.Time{}
	}
	return resumed.LastTransitionTime.Add(time.Duration(*limit) * time.Second)
}
