package rest

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pai.dev/pai/internal/history"
	"pai.dev/pai/internal/identity"
	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/pai"
)

// A list takes its place among the lists until what is recorded is no longer needed, and
// so does a pass of the recorder: both can have much in memory.
func TestHistoryTakesTurns(t *testing.T) {
	t.Parallel()
	w := newRecordedWhole(t, identity.Policy{}, "default")
	w.run(t, "ada", "now", "default", "", 0)
	w.pass(t)
	for range cap(w.core.lists) {
		w.core.lists <- struct{}{}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := w.recorder.pass(ctx); err == nil || !strings.Contains(err.Error(), "other lists of jobs are being made") {
		t.Errorf("a pass beside as many lists as a server makes: %v", err)
	}
	for range cap(w.core.lists) {
		<-w.core.lists
	}
	w.away(t)
	during := -1
	f := Filter{Incomplete: func(string) { during = len(w.core.lists) }}
	recorded := NewRecorded(w.core, w.keeper)
	if _, err := recorded.List(WithCaller(t.Context(), Caller{Name: "ada", Admin: true}), f); err != nil || during != 1 {
		t.Errorf("while a list is made, %d are being made, %v", during, err)
	}
	if len(w.core.lists) != 0 {
		t.Errorf("after it, %d are being made", len(w.core.lists))
	}
}

// What a user asks about a job in the cluster is answered about that job, not about an
// older one with its name.
func TestOlderJobsAreOthers(t *testing.T) {
	t.Parallel()
	w := newRecordedWhole(t, identity.Policy{}, "default")
	ada := w.user(t, "ada", false)
	w.run(t, "ada", "train", "default", "Completed", 0)
	w.pass(t)
	w.remove(t, "ada", "train", "default")
	w.pass(t)
	if status, text := w.ask(t, http.MethodGet, "/rest-server/api/v1/user/ada/jobs/train", ada, ""); status != 404 || !strings.Contains(text, "NoJobError") {
		t.Errorf("whether the name of a job that left is used: %d %s", status, text)
	}
	w.run(t, "ada", "train", "default", "", 9)
	sets := w.memory.dynamic.Resource(job.JobSets).Namespace("pai-vc-default")
	set, err := sets.Get(t.Context(), job.ObjectName("ada", "train"), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	set.SetAnnotations(map[string]string{pai.AnnotationJobName: "train"}) // its text is lost
	if _, err := sets.Update(t.Context(), set, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if status, text := w.ask(t, http.MethodGet, "/api/v2/jobs/ada~train/config", ada, ""); status == 200 || strings.Contains(text, "job-1") {
		t.Errorf("the text of a job without one: %d %s", status, text)
	}
	if status, text := w.ask(t, http.MethodGet, "/api/v2/jobs/ada~train/logs?taskRole=other", ada, ""); status != 404 || strings.Contains(text, "left the cluster") {
		t.Errorf("the output of a task that a job in the cluster does not have: %d %s", status, text)
	}
	if status, _ := w.ask(t, http.MethodGet, "/rest-server/api/v1/user/ada/jobs/train", ada, ""); status != 200 {
		t.Errorf("whether the name of a job in the cluster is used: %d", status)
	}
}

// A state that a server with a clock that is ahead wrote does not become the last one: the
// job stays until its end is recorded, and the recorder tries again.
func TestClockThatIsAhead(t *testing.T) {
	t.Parallel()
	w := newRecordedWhole(t, identity.Policy{}, "default")
	ada := w.user(t, "ada", false)
	now := time.Now()
	w.core.now = func() time.Time { return now }
	uids := []string{w.run(t, "ada", "first", "default", "Completed", 0), w.run(t, "ada", "second", "default", "Completed", 1)}
	store, err := w.keeper.Store()
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"first", "second"} {
		s := job.Status{UID: uids[i], JobRef: pai.JobRef{User: "ada", Name: name, VirtualCluster: "default"}, State: job.StateRunning,
			Created: start0.Add(time.Duration(i) * time.Minute), Namespace: "pai-vc-default", Object: job.ObjectName("ada", name)}
		if _, err := store.Record(t.Context(), history.Record{Status: s, Observed: now.Add(time.Hour)}); err != nil {
			t.Fatal(err)
		}
	}
	keep := Retention{Jobs: 1, Age: 1000000 * time.Hour}
	if err := w.core.reconcileEnded(t.Context(), keep); err == nil || !strings.Contains(err.Error(), "whose clock is ahead") {
		t.Errorf("a job whose end is not recorded is deleted: %v", err)
	}
	w.pass(t)
	now = now.Add(2 * time.Hour)
	w.pass(t)
	if page, _, err := store.List(t.Context(), history.Query{Limit: 5}, nil); err != nil || len(page) != 2 || page[0].State != job.StateSucceeded || page[1].State != job.StateSucceeded {
		t.Errorf("recorded are %+v, %v", page, err)
	}
	if err := w.core.reconcileEnded(t.Context(), keep); err != nil {
		t.Error(err)
	}
	if got := w.list(t, ada, ""); got != "2 ada~second:SUCCEEDED ada~first:SUCCEEDED" {
		t.Errorf("got %s", got)
	}
}
