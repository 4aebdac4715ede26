package openpai

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"pai.dev/pai/internal/history"
	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/pai"
)

func jobs() []history.Summary {
	start := time.Unix(1.7e9, 0)
	status := func(user, name string, state job.State, minute int, ended bool) job.Status {
		s := job.Status{JobRef: pai.JobRef{User: user, Name: name, VirtualCluster: "default"}, State: state, Created: start.Add(time.Duration(minute) * time.Minute)}
		if ended {
			s.Ended = s.Created.Add(time.Hour)
		}
		return s
	}
	return []history.Summary{
		history.Summarize(status("ada", "b", job.StateSucceeded, 1, true)), history.Summarize(status("bob", "a", job.StateRunning, 2, false)),
		history.Summarize(status("ada", "c", job.StateFailed, 3, true)),
	}
}

func TestQueriesOfJobs(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]string{
		"":                             "c a b of 3", // the newest first
		"username=ada":                 "c b of 2",
		"username=ada,bob":             "c a b of 3",
		"username=Ada":                 " of 0",
		"state=RUNNING,FAILED":         "c a of 2",
		"vc=other":                     " of 0",
		"keyword=b":                    "a b of 2",
		"order=jobName,ASC":            "a b c of 3",
		"order=jobName,DESC&limit=1":   "c of 3",
		"order=completionTime,DESC":    "a c b of 3", // without a time first
		"order=completionTime,ASC":     "b c a of 3",
		"order=nothing,ASC":            "c a b of 3",
		"offset=1&limit=1":             "a of 3",
		"offset=9":                     " of 3",
		"limit=0":                      " of 3",
		"jobPriority=default":          "c a b of 3",
		"jobPriority=oppo":             " of 0",
		"jobPriority=oppo,default&x=y": "c a b of 3",
	} {
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		q, err := ParseQuery(values)
		if err != nil {
			t.Fatal(err)
		}
		page, total := q.Page(jobs())
		var names []string
		for _, j := range page {
			names = append(names, j.Name)
		}
		if got := fmt.Sprintf("%s of %d", strings.Join(names, " "), total); got != want {
			t.Errorf("%s: got %s, want %s", query, got, want)
		}
	}
	for _, query := range []string{"limit=50001", "limit=-1", "offset=x", "limit=1e3", "offset=4294967296"} {
		values, _ := url.ParseQuery(query)
		if _, err := ParseQuery(values); err == nil {
			t.Errorf("%s is accepted", query)
		}
	}
}

func TestRoleNames(t *testing.T) {
	t.Parallel()
	s := job.Status{TaskRoles: []job.TaskRoleStatus{{Name: "Task_role", Tasks: []job.TaskStatus{{Index: 0}}}, {Name: "ps"}, {Name: "PS", Tasks: []job.TaskStatus{{Index: 0}}}}}
	d := Detail(s)
	for _, key := range []string{"taskrole", "ps", "PS"} {
		if _, ok := d.TaskRoles[key]; !ok {
			t.Errorf("%s is not in %v", key, d.TaskRoles)
		}
	}
	for _, name := range []string{"Task_role", "taskrole"} {
		if key, _, found := FindTask(s, name, 0); !found || key != "taskrole" {
			t.Errorf("%s: %s, %v", name, key, found)
		}
	}
	if _, _, found := FindTask(s, "taskrole", 1); found {
		t.Error("a task that does not exist was found")
	}
}

func TestExitOfJobs(t *testing.T) {
	t.Parallel()
	failed := job.Status{State: job.StateFailed, Message: "worker 1: exited", TaskRoles: []job.TaskRoleStatus{{Name: "worker", Tasks: []job.TaskStatus{
		{Index: 0, State: job.StateFailed, ExitCode: new(2), Ended: time.Unix(20, 0)}, {Index: 1, State: job.StateFailed, ExitCode: new(3), Ended: time.Unix(10, 0)}}}}}
	d := Detail(failed).JobStatus
	if *d.AppExitCode != 3 || *d.AppExitTriggerTaskIndex != 1 || *d.AppExitTriggerTaskRoleName != "worker" || d.SubState != "Completed" {
		t.Errorf("got %+v", d)
	}
	for state, want := range map[job.State]string{job.StateWaiting: "<nil>", job.StateRunning: "<nil>", job.StateSucceeded: "0", job.StateStopped: "-210", job.StateFailed: "-8000"} {
		got := "<nil>"
		if code := Summary(history.Summary{State: state}).AppExitCode; code != nil {
			got = fmt.Sprint(*code)
		}
		if got != want {
			t.Errorf("%s: got %s, want %s", state, got, want)
		}
	}
}

// A job that left the cluster is over for clients, also if no one saw how it ended.
func TestUnknownEnd(t *testing.T) {
	t.Parallel()
	s := history.Summary{State: job.StateUnknown}
	if got := Summary(s); got.SubState != "AttemptPreparing" || got.AppExitCode != nil {
		t.Errorf("in the cluster it is %s, %v", got.SubState, got.AppExitCode)
	}
	s.Ended = time.Unix(1.7e9, 0)
	if got := Summary(s); got.SubState != "Completed" || got.State != job.StateUnknown || got.AppExitCode != nil || got.CompletedTime == nil {
		t.Errorf("after it left it is %+v", got)
	}
}
