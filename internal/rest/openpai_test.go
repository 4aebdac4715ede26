package rest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"pai.dev/pai/internal/identity"
	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/pai"
)

// Two users see nothing of each other's jobs, and stop, tag, and read none; with the
// setting, they see them in the list, and nothing else.
func TestUsersDoNotSeeJobsOfOthers(t *testing.T) {
	t.Parallel()
	for _, all := range []bool{false, true} {
		w := newWhole(t, identity.Policy{ListOthersJobs: all}, "default", "research")
		ada, mallory, boss := w.user(t, "ada", false), w.user(t, "mallory", false, "research"), w.user(t, "boss", true)
		if status, text := w.ask(t, http.MethodPost, "/rest-server/api/v2/jobs", ada, fmt.Sprintf(someJob, "train")+"parameters: {secret: hunter2}\n"); status != 202 {
			t.Fatalf("%d %s", status, text)
		}
		if status, text := w.ask(t, http.MethodPost, "/rest-server/api/v2/jobs", ada, fmt.Sprintf(someJob, "other")+"defaults: {virtualCluster: research}\n"); status != 403 || !strings.Contains(text, "ForbiddenUserError") {
			t.Errorf("a job in a virtual cluster without the right: %d %s", status, text)
		}
		names := func(token, query string) (list []string) {
			for _, j := range answer[[]struct{ Name, Username string }](t, w, http.MethodGet, "/rest-server/api/v2/jobs"+query, token, "") {
				list = append(list, j.Username+"~"+j.Name)
			}
			for _, j := range answer[[]job.Status](t, w, http.MethodGet, "/api/v2/jobs"+query, token, "") {
				list = append(list, j.String())
			}
			return list
		}
		for _, query := range []string{"", "?username=ada", "?vc=default"} {
			if got := len(names(mallory, query)); got != 0 && !all || got != 2 && all {
				t.Errorf("all %t: mallory sees %d entries with %q", all, got, query)
			}
			if len(names(ada, query)) != 2 || len(names(boss, query)) != 2 {
				t.Errorf("all %t: the owner or the administrator sees other jobs with %q", all, query)
			}
		}
		task := "/attempts/0/taskRoles/worker/taskIndex/0/attempts"
		for _, prefix := range []string{"/rest-server/api/v2/jobs/", "/api/v2/jobs/"} {
			for _, r := range []struct{ method, path, body string }{
				{"GET", "", ""}, {"GET", "/config", ""}, {"GET", "/logs", ""}, {"GET", "/operations", ""}, {"GET", "/events", ""}, {"GET", "/attempts/0", ""},
				{"GET", "/job-attempts", ""}, {"GET", "/job-attempts/0", ""}, {"GET", task, ""}, {"GET", task + "/0/logs", ""},
				{"PUT", "/executionType", `{"value":"STOP"}`}, {"PUT", "/tag", `{"value":"x"}`}, {"DELETE", "/tag", `{"value":"x"}`},
			} {
				status, text := w.ask(t, r.method, prefix+"ada~train"+r.path, mallory, r.body)
				missing, other := w.ask(t, r.method, prefix+"ada~nothing"+r.path, mallory, r.body)
				if status < 400 || strings.Contains(text, "hunter2") {
					t.Errorf("all %t: %s %s%s: %d %s", all, r.method, prefix, r.path, status, text)
				}
				if status != missing || strings.ReplaceAll(text, "train", "nothing") != other {
					t.Errorf("all %t: %s %s%s shows whether a job exists: %d %s, %d %s", all, r.method, prefix, r.path, status, text, missing, other)
				}
				w.handler.callers = callers{}
			}
		}
		s, err := w.handler.Jobs.Get(t.Context(), JobID{"ada", "train"})
		if err != nil || s.StopAsked || len(s.Tags) > 0 {
			t.Errorf("all %t: the job was changed: %+v, %v", all, s, err)
		}
	}
}

// paictl of v0.10 and of this release read the shape of PAI where they always did; the
// shape of OpenPAI is below its prefix.
func TestBothShapesAreServed(t *testing.T) {
	t.Parallel()
	w := newWhole(t, identity.Policy{}, "default")
	ada := w.user(t, "ada", false)
	access := Access{URLs: []string{w.url}, CA: pemOf(w.server.Certificate().Raw), User: "ada", Token: ada}
	c := client(t, access)
	if _, err := c.Submit(t.Context(), Submission{Protocol: fmt.Appendf(nil, someJob, "train")}); err != nil {
		t.Fatal(err)
	}
	s, err := c.Get(t.Context(), JobID{"ada", "train"})
	if err != nil || s.State != job.StateWaiting || len(s.TaskRoles) != 1 || s.TaskRoles[0].Name != "worker" || s.Created.IsZero() {
		t.Errorf("paictl reads %+v, %v", s, err)
	}
	if _, err := c.Get(t.Context(), JobID{"ada", "nothing"}); pai.CodeOf(err) != pai.CodeNotFound {
		t.Errorf("paictl reads of a job that does not exist: %v", err)
	}
	if info, err := c.Info(t.Context()); err != nil || info.Name != "PAI REST server" || info.Release != "v0.11" {
		t.Errorf("info of paictl: %+v, %v", info, err)
	}
	d := answer[struct {
		JobStatus struct{ State string }
		TaskRoles map[string]any
	}](t, w, http.MethodGet, "/rest-server/api/v2/jobs/ada%7Etrain/", ada, "")
	if d.JobStatus.State != "WAITING" || d.TaskRoles["worker"] == nil {
		t.Errorf("clients of OpenPAI read %+v", d)
	}
	if err := c.Stop(t.Context(), JobID{"ada", "train"}); err != nil {
		t.Error(err)
	}
}

// Clients of OpenPAI see the priority of a job, and no secret of it. A dry run needs the
// right to submit the job, and creates nothing.
func TestOpenPAIShowsPriorities(t *testing.T) {
	t.Parallel()
	w := newWhole(t, identity.Policy{}, "default", "research")
	ada := w.user(t, "ada", false)
	const secret = "hunter2-of-ada"
	text := strings.Replace(fmt.Sprintf(someJob, "train"), "echo hello", "echo <% $secrets.word %>", 1) +
		"secrets: {word: " + secret + "}\nextras: {hivedScheduler: {jobPriorityClass: prod}}\n"
	for vc, want := range map[string]int{"default": 200, "research": 403} {
		if status, answer := w.ask(t, http.MethodPost, "/api/v2/jobs/dry-run?virtualCluster="+vc, ada, text); status != want || strings.Contains(answer, secret) {
			t.Errorf("a dry run in %s: %d %s", vc, status, answer)
		}
	}
	if status, answer := w.ask(t, http.MethodGet, "/api/v2/jobs/ada~train", ada, ""); status != 404 {
		t.Errorf("after the dry runs: %d %s", status, answer)
	}
	for name, text := range map[string]string{"train": text, "plain": fmt.Sprintf(someJob, "plain")} {
		if status, answer := w.ask(t, http.MethodPost, "/rest-server/api/v2/jobs", ada, text); status != 202 || strings.Contains(answer, secret) {
			t.Fatalf("%s: %d %s", name, status, answer)
		}
	}
	type shown struct {
		Name        string
		JobPriority *string
	}
	for query, want := range map[string]string{"prod": "train", "default": "plain", "crit": ""} {
		var got string
		for _, j := range answer[[]shown](t, w, http.MethodGet, "/rest-server/api/v2/jobs?jobPriority="+query, ada, "") {
			got += j.Name
			if p := j.JobPriority; (p == nil) != (query == "default") || p != nil && *p != query {
				t.Errorf("the priority of %s is %v", j.Name, p)
			}
		}
		if got != want {
			t.Errorf("jobs with the priority %s: %q, want %q", query, got, want)
		}
	}
	if d := answer[shown](t, w, http.MethodGet, "/rest-server/api/v2/jobs/ada~train", ada, ""); d.JobPriority == nil || *d.JobPriority != "prod" {
		t.Errorf("the details have the priority %v", d.JobPriority)
	}
	if status, config := w.ask(t, http.MethodGet, "/rest-server/api/v2/jobs/ada~train/config", ada, ""); status != 200 || strings.Contains(config, secret) || !strings.Contains(config, "******") {
		t.Errorf("the configuration: %d %s", status, config)
	}
}

// Errors have the codes and words that clients of OpenPAI compare.
func TestErrorsOfOpenPAI(t *testing.T) {
	t.Parallel()
	w := newWhole(t, identity.Policy{}, "default")
	ada, boss := w.user(t, "ada", false), w.user(t, "boss", true)
	application, err := w.accounts.CreateApplicationToken(t.Context(), "boss")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"train", "lost"} {
		w.ask(t, http.MethodPost, "/rest-server/api/v2/jobs", ada, fmt.Sprintf(someJob, name))
	}
	w.loseText(t, "ada", "lost")
	for _, c := range []struct {
		method, path, token, body string
		status                    int
		code, message             string
	}{
		{"GET", "/api/v2/jobs", "", "", 401, "UnauthorizedUserError", "Guest is not allowed to do this operation."},
		{"GET", "/api/v2/jobs", "x.y.z", "", 401, "UnauthorizedUserError", "Your token is invalid."},
		{"POST", "/api/v2/users", ada, `{}`, 403, "ForbiddenUserError", "Non-admin is not allow to do this operation."},
		{"POST", "/api/v2/users", application, `{}`, 403, "ForbiddenUserError", "Applications are not allowed to do this operation."},
		{"GET", "/api/v2/jobs/ada~nothing", ada, "", 404, "NoJobError", "Job ada~nothing is not found."},
		{"GET", "/api/v2/jobs/ada~nothing/config", ada, "", 404, "NoJobError", "Job ada~nothing is not found."},
		{"GET", "/api/v2/jobs/ada~lost/config", ada, "", 404, "NoJobConfigError", "Config of job ada~lost is not found."},
		{"GET", "/api/v2/jobs/nothing", ada, "", 404, "NoJobError", "Job nothing is not found."},
		{"GET", "/api/v1/user/ada/jobs/nothing", ada, "", 404, "NoJobError", "Job ada~nothing is not found."},
		{"GET", "/api/v2/jobs/ada~train/attempts/7", ada, "", 404, "NoJobError", "Job ada~train is not found."},
		{"GET", "/api/v2/jobs/ada~train/ssh", ada, "", 404, "NoJobSshInfoError", "SSH info of job ada~train is not found."},
		{"POST", "/api/v2/jobs", ada, fmt.Sprintf(someJob, "train"), 409, "ConflictJobError", ""},
		{"POST", "/api/v2/jobs", ada, "name: x", 400, "InvalidProtocolError", ""},
		{"GET", "/api/v2/jobs?limit=50001", ada, "", 400, "InvalidParametersError", ""},
		{"PUT", "/api/v2/jobs/ada~train/executionType", ada, `{"value":"PAUSE"}`, 400, "InvalidParametersError", ""},
		{"DELETE", "/api/v2/jobs/ada~train/tag", ada, `{"value":"none"}`, 404, "NoTagError", ""},
		{"PUT", "/api/v2/jobs/ada~train/tag", ada, `{"value":"a,b"}`, 400, "InvalidParametersError", ""},
		{"GET", "/api/v2/virtual-clusters/nothing", ada, "", 404, "NoVirtualClusterError", "Virtual cluster nothing is not found."},
		{"GET", "/api/v2/storages/nothing", boss, "", 404, "NoStorageError", "Storage nothing is not found."},
		{"GET", "/api/v2/users/missing", ada, "", 404, "NoUserError", "User missing is not found."},
		{"GET", "/api/v2/groups/nothing", ada, "", 404, "NoGroupError", "Group nothing is not found."},
		{"DELETE", "/api/v2/users/boss", boss, "", 403, "RemoveAdminError", "Admin boss is not allowed to remove."},
		{"PUT", "/api/v2/users/me", ada, `{"data":{"username":"boss","email":"a@b.c"},"patch":true}`, 403, "ForbiddenUserError", ""},
		{"PUT", "/api/v2/users/me", ada, `{"data":{"username":"ada","newPassword":"new-password"},"patch":true}`, 400, "IncorrectPasswordError", ""},
		{"PUT", "/api/v2/users/me", ada, `{"data":{"username":"ada","newPassword":"new-password","oldPassword":"guess"},"patch":true}`, 400, "IncorrectPasswordError", ""},
		{"POST", "/api/v2/users", boss, `{"username":"carl","password":5}`, 400, "InvalidParametersError", ""},
		{"GET", "/api/v2/nothing", ada, "", 404, "NoApiError", ""},
		{"GET", "/api/v3/jobs", "", "", 404, "NoApiError", ""},
	} {
		status, text := w.ask(t, c.method, "/rest-server"+c.path, c.token, c.body)
		var e openPAIError
		if err := json.Unmarshal([]byte(text), &e); err != nil || status != c.status || e.Code != c.code || c.message != "" && e.Message != c.message || e.PAI == "" {
			t.Errorf("%s %s: %d %s, want %d %s %q", c.method, c.path, status, text, c.status, c.code, c.message)
		}
	}
	// What users must not change of themselves is ignored.
	w.ask(t, http.MethodPut, "/rest-server/api/v2/users/me", ada, `{"data":{"username":"ada","admin":true,"virtualCluster":["research"],"grouplist":["adminGroup"],"password":"taken-over"},"patch":true}`)
	if c, err := w.accounts.Caller(t.Context(), "ada"); err != nil || c.Admin {
		t.Errorf("a user made themselves an administrator: %+v, %v", c, err)
	}
	if w.loggedIn(t, "ada") == "" {
		t.Error("the password was changed without the old one")
	}
}

// What others must not see of a user is left out.
func TestUsersSeeLittleOfOthers(t *testing.T) {
	t.Parallel()
	w := newWhole(t, identity.Policy{}, "default", "research")
	ada, boss := w.user(t, "ada", false), w.user(t, "boss", true)
	w.user(t, "bob", false, "research")
	if _, err := w.accounts.Update(t.Context(), "bob", UserChange{Email: new("bob@example.com"), Extension: map[string]json.RawMessage{"sshKeys": json.RawMessage(`["key"]`)}}); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/rest-server/api/v2/users/bob", "/rest-server/api/v2/user", "/rest-server/api/v1/user/bob"} {
		_, asUser := w.ask(t, http.MethodGet, path, ada, "")
		_, asAdmin := w.ask(t, http.MethodGet, path, boss, "")
		for _, private := range []string{"bob@example.com", "sshKeys", "research"} {
			if strings.Contains(asUser, private) || !strings.Contains(asAdmin, private) {
				t.Errorf("%s: %s is private; a user sees %s, an administrator %s", path, private, asUser, asAdmin)
			}
		}
		if strings.Contains(asAdmin, "argon2id") {
			t.Errorf("%s shows a hash: %s", path, asAdmin)
		}
	}
}

// A link is good for one task, for some minutes, and as long as its user has the right.
func TestLinks(t *testing.T) {
	t.Parallel()
	key, now := []byte("key"), time.Unix(1.7e9, 0)
	good := link{Caller: "ada", Job: "ada~train", TaskRole: "worker", Index: 1, Expires: now.Add(linkLife).Unix()}
	text := good.signed(key)
	if l, err := readLink(key, text, now); err != nil || l != good {
		t.Errorf("got %+v, %v", l, err)
	}
	other := good
	other.Job = "bob~train"
	_, signature, _ := strings.Cut(text, ".")
	changed, _, _ := strings.Cut(other.signed(key), ".")
	for what, bad := range map[string]struct {
		key  []byte
		text string
		now  time.Time
	}{
		"expired": {key, text, now.Add(linkLife)}, "another key": {[]byte("other"), text, now}, "no key": {nil, good.signed(nil), now},
		"another job": {key, changed + "." + signature, now}, "no signature": {key, changed, now}, "nothing": {key, "", now},
	} {
		if _, err := readLink(bad.key, bad.text, bad.now); pai.CodeOf(err) != pai.CodeForbidden {
			t.Errorf("%s: %v", what, err)
		}
	}
	w := newWhole(t, identity.Policy{}, "default")
	ada := w.user(t, "ada", false)
	s, uri := w.linked(t, ada)
	if status, output := w.ask(t, http.MethodGet, uri, "", ""); status != 200 || output != "fake logs" {
		t.Errorf("%s: %d %s", uri, status, output)
	}
	// The output of a task is that of its newest pod: a link must not show it for another
	// attempt, or for another job with the name.
	sets := w.memory.dynamic.Resource(job.JobSets).Namespace(s.Namespace)
	set, err := sets.Get(t.Context(), s.Object, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func(*unstructured.Unstructured){
		"a job that restarted": func(o *unstructured.Unstructured) {
			_ = unstructured.SetNestedField(o.Object, int64(1), "status", "restarts")
		},
		"another job": func(o *unstructured.Unstructured) { o.SetUID("another") },
	} {
		changed := set.DeepCopy()
		change(changed)
		if _, err := sets.Update(t.Context(), changed, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		if status, output := w.ask(t, http.MethodGet, uri, "", ""); status != 404 || !strings.Contains(output, "NoTaskLogError") {
			t.Errorf("%s: %d %s", what, status, output)
		}
	}
	if _, err := sets.Update(t.Context(), set, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if status, output := w.ask(t, http.MethodGet, uri, "", ""); status != 200 {
		t.Errorf("the job of the link: %d %s", status, output)
	}
	if err := w.accounts.Delete(t.Context(), "ada"); err != nil {
		t.Fatal(err)
	}
	if status, _ := w.ask(t, http.MethodGet, uri, "", ""); status < 400 {
		t.Errorf("the link of a deleted user: %d", status)
	}
	if status, _ := w.ask(t, http.MethodGet, "/rest-server/log-manager/output?link="+url.QueryEscape(good.signed([]byte("guess"))), "", ""); status != 403 {
		t.Errorf("a link with a guessed key: %d", status)
	}
}

// A token in a path is not in the log.
func TestTokensAreNotLogged(t *testing.T) {
	t.Parallel()
	w := newWhole(t, identity.Policy{}, "default")
	ada := w.user(t, "ada", false)
	var lines bytes.Buffer
	w.handler.Log = slog.New(slog.NewTextHandler(&lines, &slog.HandlerOptions{Level: slog.LevelDebug}))
	for _, method := range []string{"GET", "PUT", "DELETE"} {
		w.ask(t, method, "/rest-server/api/v2/tokens/"+ada, ada, "")
	}
	w.ask(t, "GET", "/rest-server/api/v2/tokens/check", "", "")
	if text := lines.String(); strings.Contains(text, identity.LastPart(ada)) || !strings.Contains(text, "/tokens/check") || strings.Count(text, "/tokens/…") != 3 {
		t.Errorf("the log is\n%s", text)
	}
}

// Tags are kept in the cluster, and select jobs.
func TestTags(t *testing.T) {
	t.Parallel()
	w := newWhole(t, identity.Policy{}, "default")
	ada := w.user(t, "ada", false)
	for _, name := range []string{"one", "two"} {
		w.ask(t, http.MethodPost, "/rest-server/api/v2/jobs", ada, fmt.Sprintf(someJob, name))
	}
	for range 2 {
		if status, text := w.ask(t, http.MethodPut, "/rest-server/api/v2/jobs/ada~one/tag", ada, `{"value":"good run"}`); status != 200 {
			t.Fatalf("%d %s", status, text)
		}
	}
	for query, want := range map[string]int{"tagsContain=good%20run": 1, "tagsNotContain=good%20run": 1, "tagsContain=bad": 0, "": 2, "limit=0": 0, "offset=1": 1, "state=WAITING,RUNNING": 2, "keyword=wo": 1} {
		got := answer[struct {
			TotalCount int
			Data       []struct {
				Name string
				Tags []string
			}
		}](t, w, http.MethodGet, "/rest-server/api/v2/jobs?withTotalCount=true&"+query, ada, "")
		if len(got.Data) != want {
			t.Errorf("%s: got %+v, want %d", query, got, want)
		}
	}
	if status, _ := w.ask(t, http.MethodDelete, "/rest-server/api/v2/jobs/ada~one/tag", ada, `{"value":"good run"}`); status != 200 {
		t.Errorf("got %d", status)
	}
	if s, err := w.handler.Jobs.Get(t.Context(), JobID{"ada", "one"}); err != nil || len(s.Tags) > 0 {
		t.Errorf("got %v, %v", s.Tags, err)
	}
}
