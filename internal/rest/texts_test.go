package rest

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pai.dev/pai/internal/identity"
	"pai.dev/pai/internal/job"
)

// A job whose text is missing is not a job that is missing: before and after it is recorded,
// after it left the cluster, and without the history.
func TestTextIsMissing(t *testing.T) {
	t.Parallel()
	w := newRecordedWhole(t, identity.Policy{}, "default")
	ada := w.user(t, "ada", false)
	if status, text := w.ask(t, http.MethodPost, "/api/v2/jobs", ada, fmt.Sprintf(someJob, "train")); status != http.StatusAccepted {
		t.Fatalf("%d %s", status, text)
	}
	w.loseText(t, "ada", "train")
	config := func(when string, want int, code string) {
		t.Helper()
		for _, prefix := range []string{"", openPAIPrefix} {
			status, text := w.ask(t, http.MethodGet, prefix+"/api/v2/jobs/ada~train/config", ada, "")
			if status != want || prefix != "" && !strings.Contains(text, code) || strings.Contains(text, "configmap") {
				t.Errorf("%s: %d %s, want %s", when, status, text, code)
			}
		}
	}
	config("before it is recorded", http.StatusNotFound, "NoJobConfigError")
	w.core.now = func() time.Time { return time.Now().Add(time.Hour) }
	w.pass(t)
	config("after it is recorded", http.StatusNotFound, "NoJobConfigError")
	w.remove(t, "ada", "train", "default")
	w.pass(t)
	config("after it left", http.StatusNotFound, "NoJobConfigError")
	w.run(t, "ada", "train", "default", "", 9)
	w.loseText(t, "ada", "train")
	w.away(t)
	config("without the history, which might have it", http.StatusServiceUnavailable, "")
}

// loseText deletes the text of a job in virtual cluster default.
func (w *whole) loseText(t *testing.T, user, name string) {
	t.Helper()
	sets := w.memory.dynamic.Resource(job.JobSets).Namespace("pai-vc-default")
	set, err := sets.Get(t.Context(), job.ObjectName(user, name), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	annotations := set.GetAnnotations()
	delete(annotations, job.AnnotationProtocol)
	set.SetAnnotations(annotations)
	if _, err := sets.Update(t.Context(), set, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if texts := annotations[job.AnnotationTexts]; texts != "" {
		if err := w.memory.clientset.CoreV1().ConfigMaps("pai-vc-default").Delete(t.Context(), texts, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}
