//go:build scale

package main

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pai.dev/pai/internal/history"
	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/rest/openpai"
)

// users is how many people submitted the jobs.
const users = 50

var (
	virtualClusters = []string{"default", "research", "vision", "speech"}
	priorities      = []string{"", "", "", "prod", "test"}
	// tags are those that many jobs have. One in 1,000 has the tag paper.
	tags = []string{"baseline", "ablation", "resnet50", "sweep", "lr=0.1", "night"}
)

// jobName is the name of a job with that of its user.
type jobName struct{ user, name string }

func (n jobName) String() string { return n.user + "~" + n.name }

func userName(i int) string { return fmt.Sprintf("user-%02d", i) }

// nameOf is the name of a job by its number. A user has one job in 50, and jobs have names
// as people give them.
func nameOf(i int) jobName {
	kind := []string{"train", "train_bert", "eval", "preprocess", "sweep"}[i/users%5]
	return jobName{userName(i % users), fmt.Sprintf("%s_%04d_%06d", kind, i%1000, i)}
}

var (
	largeJob   = jobName{userName(0), "ten-roles"}
	retriedJob = jobName{userName(0), "ten-attempts"}
)

// submitted is when a job was submitted: all of them within two years.
func submitted(i, jobs int) time.Time {
	return firstSubmission.Add(time.Duration(i) * (2 * 365 * 24 * time.Hour / time.Duration(jobs)))
}

var firstSubmission = time.Date(2024, 11, 29, 0, 0, 0, 0, time.UTC)

// endedJob is a job as the cluster showed it last, with one attempt.
func endedJob(r *rand.Rand, i, jobs int) job.Status {
	n, vc := nameOf(i), virtualClusters[r.IntN(len(virtualClusters))]
	s := job.Status{
		JobRef: pai.JobRef{User: n.user, Name: n.name, VirtualCluster: vc}, UID: uid(r), Namespace: job.Namespace(vc), Object: job.ObjectName(n.user, n.name),
		Priority: priorities[r.IntN(len(priorities))], Created: submitted(i, jobs).Truncate(time.Second),
	}
	s.Started = s.Created.Add(time.Duration(10+r.IntN(3600)) * time.Second)
	s.Ended = s.Started.Add(time.Duration(60+r.IntN(24*3600)) * time.Second)
	switch p := r.IntN(100); {
	case p < 70:
		s.State = job.StateSucceeded
	case p < 92:
		s.State = job.StateFailed
	case p < 99:
		s.State, s.StopAsked, s.Message = job.StateStopped, true, "asked to stop at "+s.Ended.Format(time.RFC3339)
	default:
		s.State, s.Ended = job.StateRunning, time.Time{} // its end was not seen
	}
	for _, t := range tags {
		if r.IntN(10) == 0 {
			s.Tags = append(s.Tags, t)
		}
	}
	if i%1000 == 7 {
		s.Tags = append(s.Tags, "paper")
	}
	gpus := []int{0, 1, 2, 8}[r.IntN(4)]
	for role := range 1 + r.IntN(2) {
		s.TaskRoles = append(s.TaskRoles, tasksOf(r, s, []string{"worker", "ps"}[role], 1+r.IntN(6), gpus))
	}
	if s.State == job.StateFailed {
		role, first := s.FirstFailed()
		s.Message = fmt.Sprintf("task %s[%d]: %s", role, first.Index, first.Message)
	}
	s.GPUs = gpus * s.Tasks()
	return s
}

// exits are why tasks fail, with their exit codes.
var exits = []struct {
	code int
	why  string
}{
	{1, "ended with exit code 1"}, {2, "ended with exit code 2"}, {137, "killed: used more memory than resourcePerInstance.memoryMB allows"},
	{139, "killed by signal 11 (segmentation fault)"}, {255, "ended with exit code 255"}, {127, "ended with exit code 127: a command was not found"},
}

func tasksOf(r *rand.Rand, s job.Status, role string, n, gpus int) job.TaskRoleStatus {
	tasks := job.TaskRoleStatus{Name: role}
	for i := range n {
		t := job.TaskStatus{
			Index: i, State: s.State, Machine: fmt.Sprintf("gpu-%03d", r.IntN(200)), Pod: fmt.Sprintf("%s-%s-0-%d-x%04d", s.Object, role, i, r.IntN(10000)),
			Container: "containerd://" + hex(r, 64), Started: s.Started.Add(time.Duration(r.IntN(9)) * time.Second), Ended: s.Ended, PodUID: uid(r),
			PodIP: fmt.Sprintf("10.%d.%d.%d", r.IntN(256), r.IntN(256), r.IntN(256)), PodCreated: s.Started.Add(-5 * time.Second), GPUs: gpus,
		}
		switch s.State {
		case job.StateSucceeded:
			t.ExitCode = new(0)
		case job.StateFailed:
			e := exits[r.IntN(len(exits))]
			t.ExitCode, t.Message = new(e.code), e.why
		case job.StateStopped:
			t.ExitCode = new(143)
		}
		tasks.Tasks = append(tasks.Tasks, t)
	}
	return tasks
}

func hex(r *rand.Rand, n int) string {
	text := make([]byte, n)
	for i := range text {
		text[i] = "0123456789abcdef"[r.IntN(16)]
	}
	return string(text)
}

func uid(r *rand.Rand) string {
	h := hex(r, 32)
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// recordOf is what the server records of a job: its text and the events of its first task.
func recordOf(r *rand.Rand, s job.Status) history.Record {
	rec := history.Record{Status: s, Observed: s.Started.Add(48 * time.Hour), Protocol: []byte(protocol(s.Name, s.VirtualCluster))}
	first := s.TaskRoles[0].Tasks[0]
	for _, reason := range []string{"Scheduled", "Pulled", "Started"} {
		id := uid(r)
		data, _ := json.Marshal(openpai.Event{UID: id, FrameworkName: s.String(), PodUID: first.PodUID, TaskRoleName: s.TaskRoles[0].Name, TaskName: first.Pod, Type: "Normal", Reason: reason, //nolint:errchkjson // it has only texts and numbers
			Message: reason + " on " + first.Machine, FirstTimestamp: s.Started.Format(time.RFC3339), LastTimestamp: s.Started.Format(time.RFC3339), Count: 1, SourceComponent: "kubelet"})
		rec.Notes = append(rec.Notes, history.Note{Kind: history.Event, ID: id, At: s.Started, Data: data})
	}
	return rec
}

// fillHistory records jobs as the server does, unless the directory has a history. One job
// in ten was retried.
func fillHistory(t *testing.T, dir string, jobs int) {
	t.Helper()
	file := filepath.Join(dir, history.SQLiteFile)
	if _, err := os.Stat(file); err == nil {
		return
	}
	start := time.Now()
	store, err := history.OpenSQLite(t.Context(), dir, historyBytes)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same jobs each time
	var batch []history.Record
	var lost []job.Status
	write := func(records ...history.Record) {
		if batch = append(batch, records...); len(batch) >= 50 {
			if _, err := store.Record(t.Context(), batch...); err != nil {
				t.Fatal(err)
			}
			batch = nil
		}
	}
	for i := range jobs {
		s := endedJob(r, i, jobs)
		if s.Ended.IsZero() {
			lost = append(lost, s)
		}
		for s.Retries = 0; i%10 == 3 && s.Retries < 1+i%3; s.Retries++ {
			write(history.Record{Status: s, Observed: s.Started})
		}
		write(recordOf(r, s))
	}
	write(largeJobs(r, jobs)...)
	if _, err := store.Record(t.Context(), batch...); err != nil {
		t.Fatal(err)
	}
	for _, s := range lost {
		if err := store.Leave(t.Context(), s.UID, time.Time{}, s.Started.Add(49*time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	allLeft(t, file)
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("FIGURE note %d jobs were recorded in %.0f s; the file has %d MB\n", jobs, time.Since(start).Seconds(), info.Size()/1e6)
}

// largeJobs are a job with 10 roles of 1,000 tasks, and one with 1,000 tasks and 10 attempts.
func largeJobs(r *rand.Rand, jobs int) (records []history.Record) {
	large := endedJob(r, 0, jobs)
	large.Name, large.State, large.TaskRoles = largeJob.name, job.StateFailed, nil
	for i := range 10 {
		large.TaskRoles = append(large.TaskRoles, tasksOf(r, large, fmt.Sprint("role", i), 1000, 1))
	}
	retried := endedJob(r, 0, jobs)
	retried.Name, retried.State, retried.TaskRoles = retriedJob.name, job.StateFailed, nil
	retried.TaskRoles = []job.TaskRoleStatus{tasksOf(r, retried, "worker", 1000, 1)}
	for retried.Retries = 0; retried.Retries < 9; retried.Retries++ {
		records = append(records, recordOf(r, retried))
	}
	return append(records, recordOf(r, retried), recordOf(r, large))
}

// allLeft does what Leave does, for all jobs whose end is recorded in one statement: a
// hundred thousand transactions would wait for the disk for minutes.
func allLeft(t *testing.T, file string) {
	t.Helper()
	db, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), "UPDATE jobs SET gone = observed + 3600000 WHERE gone = 0 AND state IN ('SUCCEEDED', 'FAILED', 'STOPPED')"); err != nil {
		t.Fatal(err)
	}
}
