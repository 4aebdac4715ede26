package rest

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pai.dev/pai/internal/identity"
	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/pai"
)

// private is in everything of a job that only its owner and administrators see.
const private = "hunter2"

// runPrivate makes a failed job whose every field has something private.
func (w *recordedWhole) runPrivate(t *testing.T, user, name string, minutes int) {
	t.Helper()
	w.run(t, user, name, "default", "Failed", minutes)
	sets := w.memory.dynamic.Resource(job.JobSets).Namespace("pai-vc-default")
	set, err := sets.Get(t.Context(), job.ObjectName(user, name), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	annotations, labels := set.GetAnnotations(), set.GetLabels()
	annotations[pai.AnnotationTags], labels[job.LabelPriority] = private, job.PriorityClass("prod")
	set.SetAnnotations(annotations)
	set.SetLabels(labels)
	status := set.Object["status"].(map[string]any)
	status["restarts"] = int64(3)
	status["conditions"].([]any)[0].(map[string]any)["message"] = "the image is registry/" + private
	if _, err := sets.Update(t.Context(), set, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name + "-" + private, Namespace: "pai-vc-default", UID: private, Labels: map[string]string{pai.LabelJob: set.GetName(), pai.LabelUser: user},
		Annotations: map[string]string{"batch.kubernetes.io/job-completion-index": "0"}},
		Spec: corev1.PodSpec{NodeName: private},
		Status: corev1.PodStatus{Phase: corev1.PodFailed, PodIP: private, ContainerStatuses: []corev1.ContainerStatus{{Name: job.ContainerName, ContainerID: private,
			State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 77, Reason: "Error", Message: "wrote " + private}}}}}}
	if _, err := w.memory.clientset.CoreV1().Pods("pai-vc-default").Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// What users see of the jobs of others is a list of fields. A new field is not in it.
func TestListsShowLittleOfOthers(t *testing.T) {
	t.Parallel()
	w := newRecordedWhole(t, identity.Policy{ListOthersJobs: true}, "default")
	ada, bob, boss := w.user(t, "ada", false), w.user(t, "bob", false), w.user(t, "boss", true)
	w.runPrivate(t, "bob", "left", 0)
	w.pass(t)
	w.remove(t, "bob", "left", "default")
	if err := w.memory.clientset.CoreV1().Pods("pai-vc-default").Delete(t.Context(), "left-"+private, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	w.pass(t)
	w.runPrivate(t, "bob", "now", 1)
	w.pass(t)
	public := map[string][]string{
		"/api/v2/jobs": {"user", "name", "virtualCluster", "state", "created", "started", "ended", "uid"},
		"/rest-server/api/v2/jobs": {"debugId", "name", "username", "state", "subState", "executionType", "virtualCluster",
			"submissionTime", "createdTime", "launchedTime", "completedTime"},
	}
	withHistory := w.handler.Jobs
	for _, jobs := range []JobAPI{withHistory, w.core} {
		w.handler.Jobs, w.handler.Cluster = jobs, jobs.(ClusterAPI)
		w.server.Config.Handler = w.handler.Routes()
		want := map[JobAPI]int{withHistory: 2, w.core: 1}[jobs]
		for path, fields := range public {
			for _, query := range []string{"", "?limit=5"} {
				seen := answer[[]map[string]any](t, w.whole, http.MethodGet, path+query, ada, "")
				if len(seen) != want {
					t.Errorf("%s%s: got %d jobs, want %d", path, query, len(seen), want)
				}
				for _, j := range seen {
					for field, value := range j {
						unknown := field == "appExitCode" && value == -8000.0 // of every job that ended, if the code is not known
						if !slices.Contains(fields, field) && !isZero(value) && !unknown || strings.Contains(asJSON(t, value), private) {
							t.Errorf("%s%s shows %s of the job of another user: %v", path, query, field, value)
						}
					}
				}
				for _, token := range []string{bob, boss} {
					if _, text := w.ask(t, http.MethodGet, path+query, token, ""); !strings.Contains(text, private) {
						t.Errorf("%s%s: the owner and administrators see %s", path, query, text)
					}
				}
			}
		}
		// What is not shown cannot be found out with a filter.
		for query, found := range map[string]int{"tagsContain=" + private: 0, "tagsNotContain=" + private: want, "jobPriority=prod": 0, "jobPriority=default": want} {
			if got := answer[[]map[string]any](t, w.whole, http.MethodGet, "/rest-server/api/v2/jobs?"+query, ada, ""); len(got) != found {
				t.Errorf("%s finds %d jobs of another user, want %d", query, len(got), found)
			}
		}
		w.handler.callers = callers{}
	}
}

func asJSON(t *testing.T, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// isZero reports whether a value of JSON says nothing.
func isZero(value any) bool {
	switch v := value.(type) {
	case nil:
		return true
	case map[string]any:
		for _, inner := range v {
			if !isZero(inner) {
				return false
			}
		}
		return true
	case []any:
		return len(v) == 0
	default:
		return v == "" || v == 0.0 || v == false
	}
}
