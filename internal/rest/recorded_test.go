package rest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"pai.dev/pai/internal/history"
	"pai.dev/pai/internal/identity"
	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/rest/openpai"
)

// recordedWhole is a whole REST server with a history.
type recordedWhole struct {
	*whole
	dir      string
	keeper   *history.Keeper
	core     *Core
	recorder *Recorder
	made     int
}

func newRecordedWhole(t *testing.T, policy identity.Policy, virtualClusters ...string) *recordedWhole {
	t.Helper()
	w := &recordedWhole{whole: newWhole(t, policy, virtualClusters...), dir: historyDir(t)}
	w.core, _ = w.handler.Jobs.(*Core)
	changes := make(chan error, 100)
	w.keeper = history.NewKeeper(func(ctx context.Context) (*history.Store, error) { return history.OpenSQLite(ctx, w.dir, 1<<30) },
		func(_ context.Context, _ *history.Store, err error) { changes <- err })
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan struct{})
	go func() { w.keeper.Run(ctx, 10*time.Millisecond); close(ended) }()
	t.Cleanup(func() { cancel(); <-ended })
	if err := <-changes; err != nil {
		t.Fatal(err)
	}
	recorded := NewRecorded(w.core, w.keeper)
	w.handler.Jobs, w.handler.Cluster, w.handler.History = recorded, recorded, recorded
	w.recorder = NewRecorder(w.core, w.keeper, Retention{Jobs: 1000, Age: 1000 * time.Hour})
	w.server.Config.Handler = w.handler.Routes()
	return w
}

// historyDir is a directory that is deleted at the end. A history that was replaced is closed
// beside that, and SQLite can write a file in between.
func historyDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pai-history-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for range 500 {
			if err = os.RemoveAll(dir); err == nil {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Error(err)
	})
	return dir
}

// away makes the history unavailable, as a lost disk does.
func (w *recordedWhole) away(t *testing.T) {
	t.Helper()
	if err := os.RemoveAll(w.dir); err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		if _, err := w.keeper.Store(); err != nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("the history is still available")
}

// run makes a job of a user in the cluster. It began minutes after start, and waits, or has
// ended with a condition.
func (w *recordedWhole) run(t *testing.T, user, name, vc, condition string, minutes int) (uid string) {
	t.Helper()
	w.made++
	uid = fmt.Sprintf("job-%d", w.made)
	object, namespace := job.ObjectName(user, name), job.Namespace(vc)
	at := start0.Add(time.Duration(minutes) * time.Minute)
	set := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": "JobSet",
		"spec": map[string]any{"suspend": false, "replicatedJobs": []any{map[string]any{"name": "worker", "replicas": int64(1),
			"template": map[string]any{"spec": map[string]any{"completions": int64(1), "parallelism": int64(1), "template": map[string]any{"spec": map[string]any{}}}}}}},
	}}
	set.SetName(object)
	set.SetNamespace(namespace)
	set.SetUID(types.UID(uid))
	set.SetCreationTimestamp(metav1.NewTime(at))
	set.SetLabels(map[string]string{pai.LabelJob: object, pai.LabelUser: user, pai.LabelVirtualCluster: vc})
	set.SetAnnotations(map[string]string{pai.AnnotationJobName: name, job.AnnotationProtocol: "name: " + name + " # " + uid})
	if condition != "" {
		set.Object["status"] = map[string]any{"conditions": []any{map[string]any{
			"type": condition, "status": "True", "reason": "Test", "message": "", "lastTransitionTime": at.Add(time.Minute).Format(time.RFC3339)}}}
	}
	if _, err := w.memory.dynamic.Resource(job.JobSets).Namespace(namespace).Create(t.Context(), set, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return uid
}

var start0 = time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)

func (w *recordedWhole) remove(t *testing.T, user, name, vc string) {
	t.Helper()
	if err := w.memory.dynamic.Resource(job.JobSets).Namespace(job.Namespace(vc)).Delete(t.Context(), job.ObjectName(user, name), metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
}

func (w *recordedWhole) pass(t *testing.T) {
	t.Helper()
	if err := w.recorder.pass(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// list is the names and states of a list of OpenPAI, and its total.
func (w *recordedWhole) list(t *testing.T, token, query string) string {
	t.Helper()
	p := answer[openpai.JobsWithCount](t, w.whole, http.MethodGet, "/rest-server/api/v2/jobs?withTotalCount=true&"+query, token, "")
	var all []string
	for _, j := range p.Data {
		all = append(all, fmt.Sprintf("%s~%s:%s", j.Username, j.Name, j.State))
	}
	text := fmt.Sprintf("%d %s", p.TotalCount, strings.Join(all, " "))
	if p.Incomplete {
		text += " incomplete"
	}
	return text
}

// Lists have the jobs of the cluster and those that left it, each once and in order, with
// every filter and on every page.
func TestListsOfClusterAndHistory(t *testing.T) {
	t.Parallel()
	w := newRecordedWhole(t, identity.Policy{ListOthersJobs: true}, "default", "research")
	ada := w.user(t, "ada", false)
	w.run(t, "ada", "old", "default", "Completed", 0)
	w.run(t, "bob", "lost", "research", "", 1)
	w.run(t, "ada", "same", "default", "Failed", 2)
	w.pass(t)
	w.remove(t, "ada", "old", "default")
	w.remove(t, "bob", "lost", "research")
	w.remove(t, "ada", "same", "default")
	w.pass(t)
	w.run(t, "ada", "same", "default", "", 3) // submitted again
	w.run(t, "bob", "now", "default", "", 4)
	w.pass(t)
	for query, want := range map[string]string{
		"":                           "5 bob~now:WAITING ada~same:WAITING ada~same:FAILED bob~lost:UNKNOWN ada~old:SUCCEEDED",
		"username=bob":               "2 bob~now:WAITING bob~lost:UNKNOWN",
		"vc=research":                "1 bob~lost:UNKNOWN",
		"state=FAILED,SUCCEEDED":     "2 ada~same:FAILED ada~old:SUCCEEDED",
		"keyword=same":               "2 ada~same:WAITING ada~same:FAILED",
		"limit=2&offset=1":           "5 ada~same:WAITING ada~same:FAILED",
		"limit=2&offset=4":           "5 ada~old:SUCCEEDED",
		"limit=0":                    "5 ",
		"offset=7":                   "5 ",
		"order=jobName,ASC&limit=3":  "5 bob~lost:UNKNOWN bob~now:WAITING ada~old:SUCCEEDED",
		"order=state,DESC&offset=3":  "5 ada~old:SUCCEEDED ada~same:FAILED",
		"order=completionTime,ASC":   "5 ada~old:SUCCEEDED ada~same:FAILED bob~lost:UNKNOWN bob~now:WAITING ada~same:WAITING",
		"tagsContain=kept":           "0 ",
		"username=carol":             "0 ",
		"username=ada&state=WAITING": "1 ada~same:WAITING",
	} {
		if got := w.list(t, ada, query); got != want {
			t.Errorf("%q: got %s, want %s", query, got, want)
		}
	}
	jobs := answer[[]job.Status](t, w.whole, http.MethodGet, "/api/v2/jobs", ada, "")
	var names []string
	for _, j := range jobs {
		names = append(names, j.String())
	}
	if got := strings.Join(names, " "); got != "ada~old bob~lost ada~same ada~same bob~now" {
		t.Errorf("paictl lists %s", got)
	}
	jobs = answer[[]job.Status](t, w.whole, http.MethodGet, "/api/v2/jobs?limit=2&offset=1", ada, "")
	if len(jobs) != 2 || jobs[0].Ended.IsZero() || jobs[1].Name != "same" || !jobs[1].Ended.IsZero() {
		t.Errorf("a page of paictl is %+v", jobs)
	}
	if status, text := w.ask(t, http.MethodGet, "/api/v2/jobs?limit=100000", ada, ""); status != 400 {
		t.Errorf("a limit of 100000: %d %s", status, text)
	}
}

// Users see the jobs of others in the history only where they see them in the cluster.
func TestHistoryIsPrivate(t *testing.T) {
	t.Parallel()
	w := newRecordedWhole(t, identity.Policy{}, "default")
	ada, admin := w.user(t, "ada", false), w.user(t, "root", true)
	w.run(t, "bob", "secret", "default", "Completed", 0)
	w.run(t, "ada", "own", "default", "Completed", 1)
	w.pass(t)
	w.remove(t, "bob", "secret", "default")
	w.remove(t, "ada", "own", "default")
	w.pass(t)
	for query, want := range map[string]string{"": "1 ada~own:SUCCEEDED", "username=bob": "0 ", "username=ada,bob": "1 ada~own:SUCCEEDED", "keyword=secret": "0 "} {
		if got := w.list(t, ada, query); got != want {
			t.Errorf("%q: got %s, want %s", query, got, want)
		}
	}
	if got := w.list(t, admin, ""); got != "2 ada~own:SUCCEEDED bob~secret:SUCCEEDED" {
		t.Errorf("an administrator sees %s", got)
	}
	if status, text := w.ask(t, http.MethodGet, "/api/v2/jobs/bob~secret/config", ada, ""); status != 403 {
		t.Errorf("the job of another user: %d %s", status, text)
	}
}

// A job whose objects no longer exist still has its details, its text, its events, its
// operations, and its tags. Its name can be used again.
func TestDetailsFromTheHistory(t *testing.T) {
	t.Parallel()
	w := newRecordedWhole(t, identity.Policy{}, "default")
	ada := w.user(t, "ada", false)
	w.run(t, "ada", "train", "default", "Completed", 0)
	op := pai.Operation{ID: "20260102T030000.000Z", Verb: pai.VerbUpgrade, Started: start0.Add(time.Second)}
	op.PerJob = []pai.JobLine{{Job: "ada~train", VirtualCluster: "default", ContainersBefore: 1}}
	data, err := json.Marshal(op.Published())
	if err != nil {
		t.Fatal(err)
	}
	reports := w.memory.clientset.CoreV1().ConfigMaps(pai.SystemNamespace)
	report := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "report", Namespace: pai.SystemNamespace, Labels: map[string]string{pai.LabelOperation: op.ID}}, Data: map[string]string{pai.ReportKey: string(data)}}
	if _, err := reports.Create(t.Context(), report, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	w.pass(t)
	w.remove(t, "ada", "train", "default")
	if err := reports.Delete(t.Context(), "report", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	w.pass(t)
	if s := answer[job.Status](t, w.whole, http.MethodGet, "/api/v2/jobs/ada~train", ada, ""); s.State != job.StateSucceeded || s.UID != "job-1" {
		t.Errorf("got %+v", s)
	}
	if d := answer[openpai.JobDetail](t, w.whole, http.MethodGet, "/rest-server/api/v2/jobs/ada~train", ada, ""); d.JobStatus.State != job.StateSucceeded || *d.JobStatus.AppExitCode != 0 {
		t.Errorf("got %+v", d)
	}
	if all := answer[[]openpai.JobAttempt](t, w.whole, http.MethodGet, "/rest-server/api/v2/jobs/ada~train/job-attempts", ada, ""); len(all) != 1 || !all[0].IsLatest {
		t.Errorf("got the attempts %+v", all)
	}
	if all := answer[[]JobOperation](t, w.whole, http.MethodGet, "/api/v2/jobs/ada~train/operations", ada, ""); len(all) != 1 || all[0].ID != op.ID {
		t.Errorf("got the operations %+v", all)
	}
	for path, want := range map[string]string{
		"GET /api/v2/jobs/ada~train/config":                      "200 name: train # job-1",
		"GET /rest-server/api/v2/jobs/ada~train/config":          "200 name: train # job-1",
		"GET /rest-server/api/v2/jobs/ada~train/attempts/1":      "404 ",
		"GET /api/v2/jobs/ada~train/logs?taskRole=worker":        "404 ",
		"GET /api/v2/jobs/ada~other":                             "404 ",
		"GET /rest-server/api/v2/jobs/ada~train/events":          `200 {"totalCount":0`,
		"PUT /rest-server/api/v2/jobs/ada~train/tag kept":        "200 ",
		"PUT /rest-server/api/v2/jobs/ada~train/executionType S": "202 ",
	} {
		method, rest, _ := strings.Cut(path, " ")
		rest, value, _ := strings.Cut(rest, " ")
		body := map[string]string{"": "", "kept": `{"value": "kept"}`, "S": `{"value": "STOP"}`}[value]
		status, text := w.ask(t, method, rest, ada, body)
		if got := fmt.Sprint(status, " ", text); !strings.HasPrefix(got, want) {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
	if got := w.list(t, ada, "tagsContain=kept"); got != "1 ada~train:SUCCEEDED" {
		t.Errorf("with the tag: %s", got)
	}
	w.run(t, "ada", "train", "default", "", 9)
	if s := answer[job.Status](t, w.whole, http.MethodGet, "/api/v2/jobs/ada~train", ada, ""); s.UID != "job-2" {
		t.Errorf("the job that has the name now is %+v", s)
	}
	w.pass(t)
	w.remove(t, "ada", "train", "default")
	w.pass(t)
	if s := answer[job.Status](t, w.whole, http.MethodGet, "/api/v2/jobs/ada~train", ada, ""); s.UID != "job-2" || s.State != job.StateUnknown || s.Message == "" {
		t.Errorf("the newest job with the name is %+v", s)
	}
}

// Without the history, what the cluster has is answered, and the answer says that the
// rest is missing. No answer names the file.
func TestHistoryIsAway(t *testing.T) {
	t.Parallel()
	w := newRecordedWhole(t, identity.Policy{}, "default")
	ada := w.user(t, "ada", false)
	w.run(t, "ada", "left", "default", "Completed", 0)
	w.run(t, "ada", "now", "default", "", 1)
	w.pass(t)
	w.remove(t, "ada", "left", "default")
	w.pass(t)
	w.away(t)
	if got := w.list(t, ada, ""); got != "1 ada~now:WAITING incomplete" {
		t.Errorf("got %s", got)
	}
	for _, path := range []string{"/api/v2/jobs", "/rest-server/api/v2/jobs"} {
		resp := w.do(t, http.MethodGet, path, ada, "")
		_ = resp.Body.Close()
		if why := resp.Header.Get(incompleteHeader); resp.StatusCode != 200 || why != incomplete {
			t.Errorf("%s: %d, %q", path, resp.StatusCode, why)
		}
	}
	if s := answer[job.Status](t, w.whole, http.MethodGet, "/api/v2/jobs/ada~now", ada, ""); s.Name != "now" {
		t.Errorf("got %+v", s)
	}
	for _, path := range []string{"/api/v2/jobs/ada~left", "/api/v2/jobs/ada~left/config", "/rest-server/api/v2/jobs/ada~left/events"} {
		if status, text := w.ask(t, http.MethodGet, path, ada, ""); status != 503 || !strings.Contains(text, incomplete) || strings.Contains(text, w.dir) {
			t.Errorf("%s: %d %s", path, status, text)
		}
	}
	if err := w.recorder.pass(t.Context()); err != nil {
		t.Errorf("a pass without the history: %v", err)
	}
	if err := os.Mkdir(w.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		if _, err := w.keeper.Store(); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	w.pass(t) // it is a new, empty one: what lives is recorded
	w.remove(t, "ada", "now", "default")
	w.pass(t)
	if got := w.list(t, ada, ""); got != "1 ada~now:UNKNOWN" {
		t.Errorf("after it is back: %s", got)
	}
}

// Retention deletes a job only after it is recorded, but a history that was lost does not
// fill etcd.
func TestRetentionWaitsForTheHistory(t *testing.T) {
	t.Parallel()
	w := newRecordedWhole(t, identity.Policy{}, "default")
	ada := w.user(t, "ada", false)
	for i := range 7 {
		w.run(t, "ada", fmt.Sprint("j", i), "default", "Completed", i)
	}
	inCluster := func() int {
		sets, err := w.memory.dynamic.Resource(job.JobSets).Namespace("pai-vc-default").List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return len(sets.Items)
	}
	keep := Retention{Jobs: 6, Age: 1000000 * time.Hour}
	if err := w.core.reconcileEnded(t.Context(), keep); err != nil || inCluster() != 6 {
		t.Errorf("%d jobs stay, %v", inCluster(), err)
	}
	if got := w.list(t, ada, "limit=1&offset=6"); got != "7 ada~j0:SUCCEEDED" {
		t.Errorf("the deleted job is recorded as %s", got)
	}
	w.away(t)
	keep.Jobs = 2
	if err := w.core.reconcileEnded(t.Context(), keep); !errors.Is(err, history.ErrAway) || inCluster() != 6 {
		t.Errorf("without the history %d jobs stay, %v", inCluster(), err)
	}
	keep.Jobs = 1
	if err := w.core.reconcileEnded(t.Context(), keep); !errors.Is(err, history.ErrAway) || inCluster() != 3 {
		t.Errorf("%d unrecorded jobs stay, %v", inCluster(), err)
	}
}

// Jobs of a virtual cluster that the configuration no longer has do not wait without end.
func TestRemovedVirtualClusterLeaves(t *testing.T) {
	t.Parallel()
	w := newRecordedWhole(t, identity.Policy{}, "default", "research")
	ada := w.user(t, "ada", false)
	w.run(t, "ada", "train", "research", "", 0)
	w.pass(t)
	w.core.virtualClusters = []string{"default"}
	w.pass(t)
	if got := w.list(t, ada, ""); got != "1 ada~train:UNKNOWN" {
		t.Errorf("got %s", got)
	}
}
