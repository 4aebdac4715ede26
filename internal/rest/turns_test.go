package rest

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"

	"pai.dev/pai/internal/history"
	"pai.dev/pai/internal/identity"
	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/pai"
)

// onList calls do before each list of a resource.
func (m *memory) onList(kind string, do func(limit int64)) {
	m.clientset.(*fake.Clientset).PrependReactor("list", kind, func(a k8stesting.Action) (bool, runtime.Object, error) {
		do(a.(k8stesting.ListActionImpl).ListOptions.Limit)
		return false, nil, nil
	})
}

// havePods makes the cluster have pods of a job.
func (m *memory) havePods(object string, n int) {
	pods := &corev1.PodList{}
	for i := range n {
		pods.Items = append(pods.Items, corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("pod-", i), Namespace: "pai-vc-default", Labels: map[string]string{pai.LabelJob: object}},
			Spec:   corev1.PodSpec{NodeName: "one", Containers: []corev1.Container{{Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{gpuResource: resource.MustParse("1")}}}}},
			Status: corev1.PodStatus{Phase: corev1.PodRunning}})
	}
	m.clientset.(*fake.Clientset).PrependReactor("list", "pods", func(k8stesting.Action) (bool, runtime.Object, error) { return true, pods.DeepCopy(), nil })
}

// Whatever grows with pods and machines is read in pages, for every endpoint of users.
func TestPodsAreReadInPages(t *testing.T) {
	t.Parallel()
	w := newWhole(t, identity.Policy{}, "default")
	ada, boss := w.user(t, "ada", false), w.user(t, "boss", true)
	if status, text := w.ask(t, http.MethodPost, "/api/v2/jobs", ada, fmt.Sprintf(someJob, "train")); status != http.StatusAccepted {
		t.Fatalf("%d %s", status, text)
	}
	var mu sync.Mutex
	reads, path := 0, ""
	for _, kind := range []string{"pods", "nodes"} {
		w.memory.onList(kind, func(limit int64) {
			mu.Lock()
			defer mu.Unlock()
			if reads++; limit != pageSize {
				t.Errorf("%s: %s are read with the limit %d", path, kind, limit)
			}
		})
	}
	for _, p := range []string{"/api/v2/jobs", "/api/v2/jobs/ada~train", openPAIPrefix + "/api/v2/jobs", openPAIPrefix + "/api/v2/virtual-clusters",
		openPAIPrefix + "/api/v2/virtual-clusters?nodes", openPAIPrefix + "/api/v2/cluster/sku-types", openPAIPrefix + "/api/v2/kubernetes/pods"} {
		mu.Lock()
		reads, path = 0, p
		mu.Unlock()
		token := ada
		if strings.HasSuffix(p, "/pods") {
			token = boss
		}
		status, text := w.ask(t, http.MethodGet, p, token, "")
		mu.Lock()
		if status != http.StatusOK || reads == 0 {
			t.Errorf("%s: %d %s after %d reads", p, status, text, reads)
		}
		mu.Unlock()
	}
}

// The use of machines counts as a list, is right with any number of pods, and has no
// parameter that could make it smaller.
func TestNodeUseTakesTurns(t *testing.T) {
	t.Parallel()
	w := newWhole(t, identity.Policy{}, "default")
	core := w.handler.Jobs.(*Core)
	w.memory.havePods("object", maxPods+1)
	use, err := core.NodeUse(t.Context())
	if err != nil || use["one"].Used != maxPods+1 {
		t.Errorf("got %v, %v", use, err)
	}
	for range cap(core.lists) {
		core.lists <- struct{}{}
	}
	ctx, cancel := context.WithTimeout(WithCaller(t.Context(), Caller{Name: "boss", Admin: true}), 20*time.Millisecond)
	defer cancel()
	for what, read := range map[string]func() error{
		"the use of machines": func() error { _, err := core.NodeUse(ctx); return err },
		"pods":                func() error { _, err := core.Pods(ctx, "", ""); return err },
		"a page":              func() error { _, err := core.Page(ctx, history.Query{}); return err },
	} {
		if err := read(); err == nil || !strings.Contains(err.Error(), "other lists of jobs are being made") {
			t.Errorf("%s beside as many lists as a server makes: %v", what, err)
		}
	}
}

// A job with many pods is read when few others are; small ones do not wait for it.
func TestJobsWithManyPodsTakeTurns(t *testing.T) {
	t.Parallel()
	w := newRecordedWhole(t, identity.Policy{}, "default")
	w.run(t, "ada", "train", "default", "", 0)
	for range cap(w.core.large) {
		w.core.large <- struct{}{}
	}
	for _, n := range []int{manyPods - 1, manyPods} {
		w.memory.havePods(job.ObjectName("ada", "train"), n)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		_, err := w.core.Get(ctx, JobID{"ada", "train"})
		cancel()
		if waited := err != nil && strings.Contains(err.Error(), "other jobs with many tasks are being read"); waited != (n == manyPods) || err != nil && !waited {
			t.Errorf("%d pods: %v", n, err)
		}
	}
	<-w.core.large
	if _, err := w.core.Get(t.Context(), JobID{"ada", "train"}); err != nil || len(w.core.large) != cap(w.core.large)-1 {
		t.Errorf("in its turn: %v; %d are being read", err, len(w.core.large))
	}
}

// A list of cluster and history does not hold one half while it waits for the turn of the
// other.
func TestListsTakeOneTurn(t *testing.T) {
	t.Parallel()
	w := newRecordedWhole(t, identity.Policy{}, "default")
	w.run(t, "ada", "now", "default", "", 0)
	w.pass(t)
	recorded := NewRecorded(w.core, w.keeper)
	compete := func() {}
	w.memory.onList("pods", func(int64) { compete() })
	for range cap(w.core.lists) - 1 {
		w.core.lists <- struct{}{}
	}
	for what, read := range map[string]func(ctx context.Context) error{
		"a list": func(ctx context.Context) error { _, err := recorded.List(ctx, Filter{}); return err },
		"a page": func(ctx context.Context) error { _, err := recorded.Page(ctx, history.Query{Limit: 5}); return err },
	} {
		taken := make(chan struct{})
		compete = sync.OnceFunc(func() {
			go func() { w.core.lists <- struct{}{}; close(taken) }()
			time.Sleep(50 * time.Millisecond) // it waits now
		})
		ctx, cancel := context.WithTimeout(WithCaller(t.Context(), Caller{Name: "ada"}), 5*time.Second)
		if err := read(ctx); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		cancel()
		<-taken
		<-w.core.lists
	}
}
