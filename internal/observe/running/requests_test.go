package running

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"pai.dev/pai/internal/pai"
)

// busyAPI is an API server of a cluster with many jobs. It selects pods by their
// fields, as the real one does, and counts what it is asked for.
type busyAPI struct {
	pods []corev1.Pod
	sets []map[string]any

	mu       sync.Mutex
	requests []string
	bytes    int
}

func newBusyAPI(finished, waiting, running int) *busyAPI {
	a := &busyAPI{}
	add := func(n int, kind string, phase corev1.PodPhase) {
		for i := range n {
			name := fmt.Sprintf("%s-%d", kind, i)
			labels := map[string]string{pai.LabelJob: name, pai.LabelUser: "ann", pai.LabelVirtualCluster: "default"}
			status := map[string]any{}
			if kind == "finished" {
				status["terminalState"] = "Completed"
			}
			a.sets = append(a.sets, map[string]any{"apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": "JobSet", "status": status,
				"metadata": map[string]any{"name": name, "namespace": "pai-vc-default", "labels": labels}})
			if phase == "" {
				continue
			}
			p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name + "-0", Namespace: "pai-vc-default", Labels: labels}, Spec: corev1.PodSpec{NodeName: "gpu-01"}, Status: corev1.PodStatus{Phase: phase}}
			if phase == corev1.PodRunning {
				p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "task", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}
			}
			a.pods = append(a.pods, p)
		}
	}
	add(finished, "finished", corev1.PodSucceeded)
	add(waiting, "waiting", "")
	add(running, "running", corev1.PodRunning)
	return a
}

func (a *busyAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var answer any
	switch {
	case strings.HasSuffix(r.URL.Path, "/pods"):
		selector, err := fields.ParseSelector(r.URL.Query().Get("fieldSelector"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		list := corev1.PodList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PodList"}}
		for _, p := range a.pods {
			if selector.Matches(fields.Set{"spec.nodeName": p.Spec.NodeName, "status.phase": string(p.Status.Phase)}) {
				list.Items = append(list.Items, p)
			}
		}
		answer = list
	case strings.HasSuffix(r.URL.Path, "/jobsets"):
		answer = map[string]any{"apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": "JobSetList", "items": a.sets}
	default:
		http.NotFound(w, r)
		return
	}
	data, err := json.Marshal(answer)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.requests, a.bytes = append(a.requests, r.URL.Path), a.bytes+len(data)
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(data)
}

// clients returns clients of the API.
func (a *busyAPI) clients(t *testing.T) (kubernetes.Interface, dynamic.Interface) {
	t.Helper()
	server := httptest.NewServer(a)
	t.Cleanup(server.Close)
	cfg := &rest.Config{Host: server.URL, QPS: -1}
	core, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	objects, err := dynamic.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return core, objects
}

// The number of requests does not depend on the number of jobs, and what is read
// for a step on a machine does not depend on the jobs that have ended.
func TestRequestsDoNotGrowWithJobs(t *testing.T) {
	t.Parallel()
	type cost struct{ requests, bytes int }
	measure := func(finished, waiting, running int) (all, step cost) {
		t.Helper()
		a := newBusyAPI(finished, waiting, running)
		core, objects := a.clients(t)
		jobs, queued, err := All(t.Context(), core, objects)
		if err != nil || len(jobs) != finished+running || len(queued) != waiting {
			t.Fatalf("got %d jobs, %d queued, %v", len(jobs), len(queued), err)
		}
		all = cost{len(a.requests), a.bytes}
		a.requests, a.bytes = nil, 0
		on, err := JobsOn(t.Context(), core, "gpu-01")
		if err != nil || len(on) != running {
			t.Fatalf("got %d jobs on the machine, %v, want %d", len(on), err, running)
		}
		return all, cost{len(a.requests), a.bytes}
	}
	one, oneStep := measure(0, 0, 1)
	many, manyStep := measure(500, 200, 20)
	if one.requests != 2 || many.requests != one.requests {
		t.Errorf("got %d requests for one job, %d for many, want 2", one.requests, many.requests)
	}
	if _, few := measure(0, 0, 20); manyStep != few || oneStep.requests != 1 {
		t.Errorf("a step costs %+v with ended and waiting jobs, and %+v without", manyStep, few)
	}
	t.Logf("all: %+v and %+v, step: %+v and %+v", one, many, oneStep, manyStep)
}
