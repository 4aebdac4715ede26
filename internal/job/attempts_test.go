package job

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
)

// Each try of a task is an attempt, also one that the platform ended, and those of other tasks
// are not among them.
func TestAttemptsOfATask(t *testing.T) {
	t.Parallel()
	attempt := func(index string, failures, disruptions int, age time.Duration) corev1.Pod {
		p := pod(index, corev1.PodFailed, age, exited(3))
		p.Name = fmt.Sprintf("pod-%s-%d-%d-%s", index, failures, disruptions, age)
		p.Annotations[batchv1.JobIndexFailureCountAnnotation] = strconv.Itoa(failures)
		if disruptions > 0 {
			p.Annotations[batchv1.JobIndexIgnoredFailureCountAnnotation] = strconv.Itoa(disruptions)
		}
		return p
	}
	other := attempt("1", 3, 0, 0)
	other.Annotations[AnnotationTaskRole] = "server"
	first := pod("1", corev1.PodFailed, 5*time.Hour, exited(3)) // without annotations
	first.Name = "first"
	pods := []corev1.Pod{attempt("1", 1, 1, time.Minute), attempt("1", 1, 0, time.Hour), first, attempt("0", 7, 0, 0), other,
		attempt("1", 1, 1, 0), attempt("11", 4, 0, 0)}
	attempts := TaskAttempts(pods, "worker", 1)
	var got []string
	for _, n := range slices.Sorted(maps.Keys(attempts)) {
		got = append(got, fmt.Sprint(n, "=", attempts[n].Pod, " ", attempts[n].State))
	}
	if want := "0=first FAILED, 1=pod-1-1-0-1h0m0s FAILED, 2=pod-1-1-1-0s FAILED"; strings.Join(got, ", ") != want {
		t.Errorf("got %s, want %s", strings.Join(got, ", "), want)
	}
}
