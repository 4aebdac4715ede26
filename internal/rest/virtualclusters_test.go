package rest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"pgregory.net/rapid"

	"pai.dev/pai/internal/identity"
	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/pai"
)

// vcJob is a job of a test in a virtual cluster.
type vcJob struct {
	user, name, vc string
	gpus           int64
	waits          bool
	priority       string
	minute         int // of its submission
}

// add adds the JobSet of a job.
func (m *memory) add(t testing.TB, j vcJob) {
	t.Helper()
	obj := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": "JobSet",
		"metadata": map[string]any{"namespace": job.Namespace(j.vc), "name": job.ObjectName(j.user, j.name), "uid": j.user + j.name,
			"creationTimestamp": time.Date(2026, 1, 1, 0, j.minute, 0, 0, time.UTC).Format(time.RFC3339),
			"labels":            map[string]any{pai.LabelUser: j.user, pai.LabelVirtualCluster: j.vc, pai.LabelJob: job.ObjectName(j.user, j.name), job.LabelPriority: job.PriorityClass(j.priority)},
			"annotations":       map[string]any{pai.AnnotationJobName: j.name}},
		"spec": map[string]any{"suspend": j.waits, "replicatedJobs": []any{map[string]any{"name": "w", "template": map[string]any{"spec": map[string]any{
			"parallelism": int64(1), "template": map[string]any{"spec": map[string]any{"containers": []any{map[string]any{"name": "app",
				"resources": map[string]any{"requests": map[string]any{gpuResource: fmt.Sprint(j.gpus), "cpu": "500m"}}}}}}}}}}},
	}}
	if _, err := m.dynamic.Resource(job.JobSets).Namespace(job.Namespace(j.vc)).Create(t.Context(), obj, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// setQueue replaces the queue of a virtual cluster.
func (m *memory) setQueue(t testing.TB, queue *unstructured.Unstructured) {
	t.Helper()
	if _, err := m.dynamic.Resource(clusterQueues).Update(t.Context(), queue, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// useOfGPUs is the use of GPUs in one line.
func useOfGPUs(u VirtualClusterUse) string {
	for _, r := range u.Resources {
		if r.Resource == "gpu" && r.Limit != nil {
			return fmt.Sprintf("%s: limit %g used %g mine %g borrowed %g lent %g free %g; %d run, %d wait; mine %d, %d", u.Name, *r.Limit, r.Used, r.Mine, r.Borrowed, r.Lent, *r.Free, u.Running, u.Waiting, u.MineRunning, u.MineWaiting)
		}
	}
	return u.Name + ": no limit"
}

// borrowers is a cluster whose virtual cluster vision borrows a GPU of speech, in which a
// job waits for it.
func borrowers(t *testing.T, policy identity.Policy) *whole {
	t.Helper()
	w := newWhole(t, policy, "speech", "vision")
	gpus := func(limit string) map[string]any { return map[string]any{"name": gpuResource, "nominalQuota": limit} }
	w.memory.setQueue(t, queueWith("speech", "cohort", gpus("4"), "2"))
	w.memory.setQueue(t, queueWith("vision", "cohort", gpus("2"), "3"))
	for _, j := range []vcJob{
		{user: "ada", name: "train", vc: "vision", gpus: 1}, {user: "bob", name: "big", vc: "vision", gpus: 2}, {user: "bob", name: "talk", vc: "speech", gpus: 2},
		{user: "bob", name: "late", vc: "speech", gpus: 2, waits: true, minute: 1}, {user: "ada", name: "first", vc: "speech", gpus: 3, waits: true, minute: 9, priority: "prod"},
		{user: "ada", name: "last", vc: "speech", gpus: 3, waits: true, minute: 9, priority: "oppo"},
	} {
		w.memory.add(t, j)
	}
	return w
}

func TestUseOfVirtualClusters(t *testing.T) {
	t.Parallel()
	w := borrowers(t, identity.Policy{})
	ada, eve := w.user(t, "ada", false, "vision"), w.user(t, "eve", false)
	list := answer[[]VirtualClusterUse](t, w, http.MethodGet, "/api/v2/virtual-clusters", ada, "")
	want := []string{
		"speech: limit 4 used 2 mine 0 borrowed 0 lent 1 free 1; 1 run, 3 wait; mine 0, 2",
		"vision: limit 2 used 3 mine 1 borrowed 1 lent 0 free 1; 2 run, 0 wait; mine 1, 0",
	}
	for i, u := range list {
		if got := useOfGPUs(u); got != want[i] || u.CanSubmit != (u.Name == "vision") || u.Queue != nil {
			t.Errorf("got %s, %+v\nwant %s", got, u, want[i])
		}
		if r := u.Resources[0]; r.Resource != "cpu" || r.Limit != nil || r.Free != nil || r.Mine != 0.5*float64(u.MineRunning) {
			t.Errorf("%s: got %+v", u.Name, r)
		}
	}
	if got := useOfGPUs(answer[[]VirtualClusterUse](t, w, http.MethodGet, "/api/v2/virtual-clusters", eve, "")[1]); got != "vision: limit 2 used 3 mine 0 borrowed 1 lent 0 free 1; 2 run, 0 wait; mine 0, 0" {
		t.Errorf("another user sees %s", got)
	}
	if status, text := w.ask(t, http.MethodGet, "/api/v2/virtual-clusters/nothing", ada, ""); status != http.StatusNotFound || !strings.Contains(text, "not found") {
		t.Errorf("got %d %s", status, text)
	}
}

// A queue has the jobs that the caller can see, in the order of Kueue, and only who can read
// a job learns what it asks for and why it waits.
func TestQueueOfAVirtualCluster(t *testing.T) {
	t.Parallel()
	line := func(q QueuedJob) string {
		s := fmt.Sprintf("%d %s", q.Position, q.ID)
		if q.Asks != nil {
			s += fmt.Sprintf(" %d GPUs", q.Asks.GPU)
		}
		if q.Why != "" {
			s += " why"
		}
		return s
	}
	for _, c := range []struct {
		user  string
		admin bool
		all   bool
		want  []string
	}{
		{"ada", false, false, []string{"1 ada~first 3 GPUs why", "3 ada~last 3 GPUs"}},
		{"eve", false, false, nil},
		{"bob", false, true, []string{"1 ada~first", "2 bob~late 2 GPUs why", "3 ada~last"}},
		{"boss", true, false, []string{"1 ada~first 3 GPUs why", "2 bob~late 2 GPUs", "3 ada~last 3 GPUs"}},
	} {
		w := borrowers(t, identity.Policy{ListOthersJobs: c.all})
		for _, name := range []string{"first", "late"} {
			uid := map[string]string{"first": "adafirst", "late": "boblate"}[name]
			workload := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "kueue.x-k8s.io/v1beta1", "kind": "Workload",
				"metadata": map[string]any{"namespace": "pai-vc-speech", "name": "jobset-" + name, "labels": map[string]any{labelJobUID: uid}},
				"status": map[string]any{"conditions": []any{map[string]any{"type": quotaReserved, "status": "False",
					"message": "insufficient unused quota for nvidia.com/gpu in flavor default, 1 more needed"}}}}}
			if _, err := w.memory.dynamic.Resource(workloads).Namespace("pai-vc-speech").Create(t.Context(), workload, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		token := w.user(t, c.user, c.admin)
		use := answer[VirtualClusterUse](t, w, http.MethodGet, "/api/v2/virtual-clusters/speech", token, "")
		var got []string
		for _, q := range use.Queue {
			got = append(got, line(q))
			if q.Why != "" && !strings.Contains(q.Why, "jobs of other virtual clusters borrow 1 GPU of it until they end") {
				t.Errorf("%s reads %s", c.user, q.Why)
			}
		}
		if !slices.Equal(got, c.want) || use.Waiting != 3 {
			t.Errorf("%s: got %q of %d, want %q", c.user, got, use.Waiting, c.want)
		}
	}
}

func TestLongQueuesAreBounded(t *testing.T) {
	t.Parallel()
	w := newWhole(t, identity.Policy{}, "default")
	for i := range maxQueued + 5 {
		w.memory.add(t, vcJob{user: "ada", name: fmt.Sprint("j", i), vc: "default", gpus: 1, waits: true, minute: i})
	}
	use := answer[VirtualClusterUse](t, w, http.MethodGet, "/api/v2/virtual-clusters/default", w.user(t, "ada", false), "")
	if len(use.Queue) != maxQueued || use.Waiting != maxQueued+5 || use.Queue[0].ID != "ada~j0" {
		t.Errorf("got %d of %d, the first %v", len(use.Queue), use.Waiting, use.Queue[0])
	}
}

// What is used is the sum of what the jobs of all users ask for.
func TestUseIsTheSumOfJobs(t *testing.T) {
	t.Parallel()
	users := []string{"ada", "bob", "carl"}
	rapid.Check(t, func(r *rapid.T) {
		m := newMemory("default")
		var sum int64
		for i := range rapid.IntRange(0, 12).Draw(r, "jobs") {
			j := vcJob{user: rapid.SampledFrom(users).Draw(r, "user"), name: fmt.Sprint("j", i), vc: "default", gpus: rapid.Int64Range(0, 4).Draw(r, "gpus"), waits: rapid.Bool().Draw(r, "waits")}
			if !j.waits {
				sum += j.gpus
			}
			m.add(t, j)
		}
		m.setQueue(t, queueWith("default", "cohort", map[string]any{"name": gpuResource, "nominalQuota": "10"}, fmt.Sprint(sum)))
		core := NewCore(m, []string{"default"})
		mine, running, waiting := 0.0, 0, 0
		var all VirtualClusterUse
		for _, user := range users {
			list, err := core.VirtualClusterUse(WithCaller(t.Context(), Caller{Name: user}))
			if err != nil {
				r.Fatal(err)
			}
			all = list[0]
			mine += all.Resources[2].Mine
			running, waiting = running+all.MineRunning, waiting+all.MineWaiting
		}
		gpus := all.Resources[2]
		if mine != gpus.Used || gpus.Used != float64(sum) || gpus.Borrowed+min(*gpus.Limit, gpus.Used) != gpus.Used || running != all.Running || waiting != all.Waiting {
			r.Fatalf("got %g of all users, %d running, %d waiting, and %+v", mine, running, waiting, all)
		}
	})
}

// A server of v0.10 does not have the operation, and a new one does not have every virtual
// cluster: the answers differ.
func TestVirtualClustersOfAnOlderServer(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]pai.Code{"": pai.CodeRefused, "/api/v2/virtual-clusters": pai.CodeNotFound} {
		srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if req.URL.Path == path {
				writeJSON(w, http.StatusOK, []VirtualClusterUse{})
				return
			}
			writeJSON(w, http.StatusNotFound, errorBody{Code: string(pai.CodeNotFound), Message: req.URL.Path + " not found"})
		}))
		t.Cleanup(srv.Close)
		c := client(t, Access{URLs: []string{srv.URL}, CA: pemOf(srv.Certificate().Raw), Token: "x"})
		if _, err := c.VirtualCluster(t.Context(), "vision"); pai.CodeOf(err) != want {
			t.Errorf("%q: got %v, want %s", path, err, want)
		}
		if _, err := c.VirtualClusters(t.Context()); (err == nil) != (want == pai.CodeNotFound) {
			t.Errorf("%q: got %v", path, err)
		}
	}
}
