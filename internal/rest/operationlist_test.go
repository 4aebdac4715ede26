package rest

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"pai.dev/pai/internal/pai"
)

// published is an OperationAPI with fixed answers.
type published struct {
	reports  []pai.PublishedReport
	progress *pai.PublishedProgress
}

func (p published) Reports(context.Context) ([]pai.PublishedReport, error) { return p.reports, nil }
func (p published) Progress(context.Context) (*pai.PublishedProgress, error) {
	return p.progress, nil
}

// Users see the figures of all jobs and the names of those that they submitted, administrators all names.
func TestOperationsShowOwnJobs(t *testing.T) {
	t.Parallel()
	op := pai.Operation{ID: "20260102T030405.000Z", Verb: pai.VerbUpgrade, Outcome: pai.OutcomeSucceeded}
	op.Jobs = pai.JobsReport{Before: 3, After: 2, Failed: []pai.ContainerEnd{{Job: "bob~secret", VirtualCluster: "default", Cause: "bob~secret ended"}}}
	op.PerJob = []pai.JobLine{{Job: "alice~train", VirtualCluster: "default", ContainersBefore: 2}, {Job: "bob~secret", VirtualCluster: "default"}}
	op.Restored = &pai.Restore{Taken: time.Unix(2, 0).UTC(), Unknown: "ssh: hidden", Jobs: []pai.RestoredJob{
		{Job: "alice~gone", User: "alice", Record: pai.RecordLost, RunsAgain: "dial: hidden", Ran: []pai.RanContainer{{Pod: "hidden"}}}, {Job: "bob~secret", Record: pai.RecordLost}}}
	running := pai.Operation{ID: "20260102T040405.000Z", Outcome: pai.OutcomeRunning, Waiting: []pai.Waiting{
		{Machine: "gpu-1", Reason: "bob~secret runs there", Jobs: []pai.JobRef{{User: "bob", Name: "secret"}, {User: "alice", Name: "train"}}},
		{Machine: "gpu-2", Reason: "alice~train runs there", Jobs: []pai.JobRef{{User: "alice", Name: "train"}}}}}
	progress := running.Progress()
	progress.Updated = time.Unix(1, 0)
	ask := func(p published, token, path string) (int, string) {
		t.Helper()
		h := &Handler{Jobs: &scripted{}, Operations: p, Log: slog.New(slog.DiscardHandler), Users: tokens{
			"alices": {Name: "alice"}, "admins": {Name: "admin", Admin: true}}}
		req := httptest.NewRequest(http.MethodGet, "/api/v2/operations"+path, nil)
		req.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		h.Routes().ServeHTTP(w, req)
		return w.Code, w.Body.String()
	}
	both := published{[]pai.PublishedReport{op.Published()}, &progress}
	for _, path := range []string{"", "/" + op.ID} {
		for token, names := range map[string]bool{"alices": false, "admins": true} {
			status, body := ask(both, token, path)
			if status != http.StatusOK || (strings.Contains(body, "secret") != names) && (path != "" || !names) {
				t.Errorf("%s%s: got %d, %s", token, path, status, body)
			}
			if !strings.Contains(body, `"before":3`) || !strings.Contains(body, `"failed":1`) {
				t.Errorf("%s%s: figures are missing in %s", token, path, body)
			}
		}
		if status, _ := ask(both, "wrong", path); status != http.StatusUnauthorized {
			t.Errorf("without a token: got %d", status)
		}
	}
	var list OperationList
	_, body := ask(both, "alices", "")
	if err := json.Unmarshal([]byte(body), &list); err != nil || list.Current == nil || len(list.Current.Waiting) != 2 || len(list.Operations) != 1 {
		t.Fatalf("got %s, %v", body, err)
	}
	w := list.Current.Waiting
	if len(w[0].Jobs) != 1 || w[0].Reason != "" || len(w[1].Jobs) != 1 || w[1].Reason == "" || list.Operations[0].VisibleJobs != 1 || list.Operations[0].Jobs != nil {
		t.Errorf("got %+v and %+v", w, list.Operations[0])
	}
	var whole OperationSummary
	_, body = ask(both, "alices", "/"+op.ID)
	if err := json.Unmarshal([]byte(body), &whole); err != nil || whole.Restored == nil || len(whole.Restored.Jobs) != 1 || whole.Restored.Jobs[0].Job != "alice~gone" || !whole.Restored.Taken.Equal(op.Restored.Taken) {
		t.Errorf("what was restored: got %s, %v, want the caller's job", body, err)
	}
	if strings.Contains(body, "hidden") {
		t.Errorf("users see what only operators can know: %s", body)
	}
	if status, _ := ask(both, "admins", "/none"); status != http.StatusNotFound {
		t.Errorf("an unknown operation: got %d", status)
	}
	ended := published{[]pai.PublishedReport{running.Published()}, &progress}
	if _, body := ask(ended, "admins", ""); !strings.Contains(body, `"current":null`) {
		t.Errorf("the operation has a report and is shown as running: %s", body)
	}
	if _, body := ask(published{}, "admins", ""); body != `{"current":null,"operations":[]}`+"\n" {
		t.Errorf("without operations: got %s", body)
	}
}
