package job

import (
	"cmp"

	"k8s.io/utils/ptr"

	"pai.dev/pai/internal/pai"
)

// Queued reports whether the job waits for Kueue to admit it.
func (r Record) Queued() bool {
	s := Status{JobRef: pai.JobRef{User: r.set.Labels[pai.LabelUser], Name: r.set.Annotations[pai.AnnotationJobName]}}
	readJob(&s, r.set, 0)
	return s.State == StateWaiting && ptr.Deref(r.set.Spec.Suspend, false)
}

// CompareInQueue orders jobs that wait as Kueue does: by priority, then by age.
func CompareInQueue(a, b Record) int {
	priority := func(r Record) int { return priorityValue(priorityOf(r.set.Labels[LabelPriority])) }
	return cmp.Or(cmp.Compare(priority(b), priority(a)), a.set.CreationTimestamp.Compare(b.set.CreationTimestamp.Time), cmp.Compare(a.set.UID, b.set.UID))
}

// priorityValue is the value of the WorkloadPriorityClass of a priority.
func priorityValue(priority string) int {
	return map[string]int{"crit": 1000, "prod": 100, "oppo": -100}[priority]
}
