package job

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
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
	r, err := ReadRecord(obj)
	if err != nil {
		return Holding{}, err
	}
	return r.Holding(), nil
}

// Holding is what the job holds; see ReadHolding.
func (r Record) Holding() Holding {
	js := r.set
	h := Holding{JobRef: pai.JobRef{User: js.Labels[pai.LabelUser], Name: js.Annotations[pai.AnnotationJobName], VirtualCluster: js.Labels[pai.LabelVirtualCluster]}}
	if holds(js) {
		h.Resources = r.sum(func(role string) bool { return !succeeded(js, role) })
		h.Until = endOf(js)
	}
	return h
}

// Asks is what all tasks of the job ask for, as Kueue counts it.
func (r Record) Asks() corev1.ResourceList { return r.sum(func(string) bool { return true }) }

// request is what a task asks for of each resource that Kueue counts: bytes, and CPU in
// thousandths of a core. It is small, because a server keeps many records.
type request struct{ cpu, memory, disk, gpus int64 }

func (r *request) add(of corev1.ResourceList) {
	r.cpu += of.Cpu().MilliValue()
	r.memory += of.Memory().Value()
	r.disk += of.StorageEphemeral().Value()
	gpus := of[gpuResource]
	r.gpus += gpus.Value()
}

// sum is what the tasks of roles ask for; tasks are the pods of Kueue.
func (r Record) sum(of func(role string) bool) corev1.ResourceList {
	var all request
	var pods int64
	for i, rj := range r.set.Spec.ReplicatedJobs {
		if !of(rj.Name) {
			continue
		}
		tasks, each := int64(ptr.Deref(rj.Template.Spec.Parallelism, 1)), r.asks[i]
		all = request{all.cpu + tasks*each.cpu, all.memory + tasks*each.memory, all.disk + tasks*each.disk, all.gpus + tasks*each.gpus}
		pods += tasks
	}
	list := corev1.ResourceList{}
	for name, q := range map[corev1.ResourceName]*resource.Quantity{
		corev1.ResourceCPU:              resource.NewMilliQuantity(all.cpu, resource.DecimalSI),
		corev1.ResourceMemory:           resource.NewQuantity(all.memory, resource.BinarySI),
		corev1.ResourceEphemeralStorage: resource.NewQuantity(all.disk, resource.BinarySI),
		corev1.ResourcePods:             resource.NewQuantity(pods, resource.DecimalSI),
		gpuResource:                     resource.NewQuantity(all.gpus, resource.DecimalSI),
	} {
		if !q.IsZero() {
			list[name] = *q
		}
	}
	return list
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
