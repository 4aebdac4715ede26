package job

import (
	"strconv"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
)

// TaskAttempts are the attempts of a task whose pods the cluster has, by their number: how often
// the task had failed before, or had been ended by the platform. A restart of the whole job
// deletes the pods of the run before it.
func TaskAttempts(pods []corev1.Pod, role string, index int) map[int]TaskStatus {
	newest := map[int]*corev1.Pod{}
	for i := range pods {
		p := &pods[i]
		if p.Annotations[AnnotationTaskRole] != role || p.Annotations[batchv1.JobCompletionIndexAnnotation] != strconv.Itoa(index) {
			continue
		}
		n := count(p, batchv1.JobIndexFailureCountAnnotation) + count(p, batchv1.JobIndexIgnoredFailureCountAnnotation)
		if old := newest[n]; old == nil || newer(p, old) {
			newest[n] = p
		}
	}
	attempts := map[int]TaskStatus{}
	for n, p := range newest {
		t := TaskStatus{Index: index}
		readTask(&t, p)
		attempts[n] = t
	}
	return attempts
}

// count is a number of an annotation; 0 if it has none.
func count(p *corev1.Pod, annotation string) int {
	n, err := strconv.Atoi(p.Annotations[annotation])
	if err != nil {
		return 0
	}
	return n
}
