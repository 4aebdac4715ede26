package rest

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pai.dev/pai/internal/history"
	"pai.dev/pai/internal/identity"
	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/rest/openpai"
)

// Attempts of a job are read in turns with lists, one attempt is not, and without the
// history the answers say that they are missing.
func TestAttemptsFromTheHistory(t *testing.T) {
	t.Parallel()
	w := newRecordedWhole(t, identity.Policy{}, "default")
	ada := w.user(t, "ada", false)
	uid := w.run(t, "ada", "train", "default", "", 0)
	w.pass(t)
	w.remove(t, "ada", "train", "default")
	w.pass(t)
	store, err := w.keeper.Store()
	if err != nil {
		t.Fatal(err)
	}
	retried := job.Status{UID: uid, JobRef: pai.JobRef{User: "ada", Name: "train", VirtualCluster: "default"}, State: job.StateRunning,
		Created: start0, Retries: 2, Namespace: "pai-vc-default", Object: job.ObjectName("ada", "train")}
	if _, err := store.Record(t.Context(), history.Record{Status: retried, Observed: time.Now().Add(time.Minute)}); err != nil {
		t.Fatal(err)
	}
	const path = "/rest-server/api/v2/jobs/ada~train"
	all := answer[[]openpai.JobAttempt](t, w.whole, http.MethodGet, path+"/job-attempts", ada, "")
	if len(all) != 2 || !all[0].IsLatest || all[1].IsLatest {
		t.Errorf("got the attempts %+v", all)
	}

	for range cap(w.core.lists) {
		w.core.lists <- struct{}{}
	}
	for limit := 100 * time.Millisecond; ; limit *= 2 { // a slow host needs longer to come to the list
		ctx, cancel := context.WithTimeout(WithCaller(t.Context(), Caller{Name: "ada"}), limit)
		_, _, err := NewRecorded(w.core, w.keeper).Attempts(ctx, JobID{"ada", "train"})
		cancel()
		if err != nil && strings.Contains(err.Error(), "other lists of jobs are being made") {
			break
		}
		if err == nil || limit > 10*time.Second {
			t.Fatalf("all attempts beside as many lists as a server makes: %v", err)
		}
	}
	for n, want := range map[string]int{"0": 200, "1": 404, "2": 200} {
		if status, text := w.ask(t, http.MethodGet, path+"/attempts/"+n, ada, ""); status != want {
			t.Errorf("attempt %s: got %d %s, want %d", n, status, text, want)
		}
	}
	for range cap(w.core.lists) {
		<-w.core.lists
	}
}

// A running job whose earlier attempts cannot be read has its newest one.
func TestAttemptsWithoutTheHistory(t *testing.T) {
	t.Parallel()
	w := newRecordedWhole(t, identity.Policy{}, "default")
	ada := w.user(t, "ada", false)
	w.run(t, "ada", "train", "default", "", 0)
	sets := w.memory.dynamic.Resource(job.JobSets).Namespace("pai-vc-default")
	set, err := sets.Get(t.Context(), job.ObjectName("ada", "train"), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	set.Object["status"] = map[string]any{"restarts": int64(1)}
	if _, err := sets.Update(t.Context(), set, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	w.pass(t)
	w.away(t)
	const path = "/rest-server/api/v2/jobs/ada~train"
	resp := w.do(t, http.MethodGet, path+"/job-attempts", ada, "")
	_ = resp.Body.Close()
	if why := resp.Header.Get(incompleteHeader); resp.StatusCode != 200 || why != incompleteAttempts {
		t.Errorf("all attempts: %d, %q", resp.StatusCode, why)
	}
	for n, want := range map[string]int{"0": http.StatusServiceUnavailable, "1": 200} {
		if status, text := w.ask(t, http.MethodGet, path+"/attempts/"+n, ada, ""); status != want || strings.Contains(text, w.dir) {
			t.Errorf("attempt %s: got %d %s, want %d", n, status, text, want)
		}
	}
}

// A report that cannot be read is an error of a pass, and keeps no job in the cluster.
func TestRecorderWithAMalformedReport(t *testing.T) {
	t.Parallel()
	w := newRecordedWhole(t, identity.Policy{}, "default")
	report := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "report", Namespace: pai.SystemNamespace, Labels: map[string]string{pai.LabelOperation: "x"}},
		Data: map[string]string{pai.ReportKey: "{"}}
	if _, err := w.memory.clientset.CoreV1().ConfigMaps(pai.SystemNamespace).Create(t.Context(), report, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	w.run(t, "ada", "first", "default", "Completed", 0)
	w.run(t, "ada", "second", "default", "Completed", 1)
	before := w.recorder.Recorded()
	if err := w.recorder.pass(t.Context()); err == nil || !strings.Contains(err.Error(), "ConfigMap pai-system/report") {
		t.Errorf("a pass: %v", err)
	}
	if !w.recorder.Recorded().Equal(before) {
		t.Error("a pass that failed counts as one that recorded all")
	}
	w.pass(t) // which does not read reports
	if !w.recorder.Recorded().After(before) {
		t.Error("a pass that recorded all does not count")
	}
	if err := w.core.reconcileEnded(t.Context(), Retention{Jobs: 1, Age: 1000000 * time.Hour}); err != nil {
		t.Errorf("retention: %v", err)
	}
	sets, err := w.memory.dynamic.Resource(job.JobSets).Namespace("pai-vc-default").List(t.Context(), metav1.ListOptions{})
	if err != nil || len(sets.Items) != 1 {
		t.Errorf("got %d jobs in the cluster, %v, want that the oldest left", len(sets.Items), err)
	}
}

// An event is written once for each version, and again only if its write failed.
func TestEventsAreWrittenOnce(t *testing.T) {
	t.Parallel()
	s := job.Status{TaskRoles: []job.TaskRoleStatus{{Name: "worker", Tasks: []job.TaskStatus{{Pod: "p"}}}}}
	event := corev1.Event{ObjectMeta: metav1.ObjectMeta{UID: "e", ResourceVersion: "7"}}
	events := map[string][]corev1.Event{"p": {event}}
	for name, c := range map[string]struct {
		written map[string]string
		want    int
	}{"new": {nil, 1}, "changed": {map[string]string{"e": "6"}, 1}, "written": {map[string]string{"e": "7"}, 0}} {
		notes, versions, err := notesOf(s, events, nil, c.written)
		if err != nil || len(notes) != c.want || versions["e"] != "7" {
			t.Errorf("%s: got %d notes, %v, %v", name, len(notes), versions, err)
		}
	}
}
