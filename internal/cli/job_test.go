package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pai.dev/pai/internal/cli/ui"
	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/rest"
)

// oneJob is a REST service with one job, that of user admin.
type oneJob struct {
	stopped    bool
	unreported error // of Operations
	output     string
}

func (s *oneJob) status() job.Status {
	state := job.StateRunning
	if s.stopped {
		state = job.StateStopping
	}
	return job.Status{
		JobRef: pai.JobRef{User: "admin", Name: "train", VirtualCluster: "default"}, State: state, Created: time.Now(),
		TaskRoles: []job.TaskRoleStatus{{Name: "worker", Tasks: []job.TaskStatus{{State: job.StateRunning, Machine: "gpu-01"}, {Index: 1, State: job.StateWaiting}}}},
	}
}

func (s *oneJob) Submit(_ context.Context, sub rest.Submission) (rest.Submitted, error) {
	j, warnings, err := job.Parse(sub.Protocol, job.ParseOptions{VirtualCluster: sub.VirtualCluster})
	if err != nil {
		return rest.Submitted{}, &pai.Error{Code: pai.CodeInvalid, Message: "the job is not valid", Err: err}
	}
	return rest.Submitted{JobRef: pai.JobRef{User: "admin", Name: j.Name, VirtualCluster: j.VirtualCluster}, ID: "admin~" + j.Name, Warnings: warnings}, nil
}

func (s *oneJob) Preview(_ context.Context, sub rest.Submission) (rest.Previewed, error) {
	j, warnings, err := job.Parse(sub.Protocol, job.ParseOptions{VirtualCluster: sub.VirtualCluster})
	if err != nil {
		return rest.Previewed{}, &pai.Error{Code: pai.CodeInvalid, Message: "the job is not valid", Err: err}
	}
	return rest.Previewed{Preview: j.Preview(), ID: "admin~" + j.Name, Warnings: warnings}, nil
}

func (s *oneJob) List(context.Context, rest.Filter) ([]job.Status, error) {
	return []job.Status{s.status()}, nil
}

func (s *oneJob) Get(_ context.Context, id rest.JobID) (job.Status, error) {
	if id.String() != "admin~train" {
		return job.Status{}, pai.Errorf(pai.CodeNotFound, "", "there is no job %s", id)
	}
	return s.status(), nil
}

func (s *oneJob) Protocol(context.Context, rest.JobID) ([]byte, error) { return nil, nil }

func (s *oneJob) Operations(context.Context, rest.JobID) ([]rest.JobOperation, error) {
	return []rest.JobOperation{{ID: "20260102T030400.000Z", Verb: pai.VerbUpgrade, Outcome: pai.OutcomeSucceeded,
		JobLine: pai.JobLine{Job: "admin~train", ContainersBefore: 2, ContainersAfter: 2, Machines: []string{"gpu-01"}}}}, s.unreported
}

func (s *oneJob) Stop(context.Context, rest.JobID) error {
	s.stopped = true
	return nil
}

func (s *oneJob) Logs(_ context.Context, _ rest.JobID, o rest.LogOptions) (io.ReadCloser, error) {
	o.Missing("output before 12:00 might be missing")
	if s.output != "" {
		return io.NopCloser(strings.NewReader(s.output)), nil
	}
	if o.Attempt != nil {
		return io.NopCloser(strings.NewReader(fmt.Sprintf("2025-01-01T00:00:00Z attempt %d\n", *o.Attempt))), nil
	}
	return io.NopCloser(strings.NewReader("2025-01-01T00:00:00Z step 1\n")), nil
}

type anyone struct{}

func (anyone) Caller(_ context.Context, token string) (rest.Caller, error) {
	return rest.Caller{Name: "admin", Admin: true}, nil
}
func (anyone) Ready(context.Context) error { return nil }

// stateWith is a state directory that has the access to the REST server of the clusters.
func stateWith(t *testing.T, clusters ...string) string {
	t.Helper()
	return stateOf(t, &oneJob{}, clusters...)
}

func stateOf(t *testing.T, jobs *oneJob, clusters ...string) string {
	t.Helper()
	h := &rest.Handler{Jobs: jobs, Users: anyone{}, Log: slog.New(slog.DiscardHandler)}
	srv := httptest.NewTLSServer(h.Routes())
	t.Cleanup(srv.Close)
	dir := t.TempDir()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	for _, c := range clusters {
		access := rest.Access{URLs: []string{srv.URL}, CA: ca, User: "admin", Token: "x"}
		if err := access.Save(filepath.Join(dir, "clusters", c, rest.AccessFile)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func paictl(t *testing.T, state, stdin string, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	env := &Env{Console: ui.Console{Out: &o, Err: &e}, In: strings.NewReader(stdin), StateDir: state, CacheDir: t.TempDir()}
	code = Main(t.Context(), env, args)
	return code, o.String(), e.String()
}

const goodJob = `protocolVersion: 2
name: sum
type: job
prerequisites: [{name: i, type: dockerimage, uri: a/b}]
taskRoles: {w: {dockerImage: i, resourcePerInstance: {cpu: 1, memoryMB: 16, gpu: 0}, commands: [ls]}}
`

func TestJobCommands(t *testing.T) {
	t.Parallel()
	state := stateWith(t, "pai")
	file := put(t, "bad.yaml", []byte("name: a b\n"))
	for _, c := range []struct {
		args  []string
		stdin string
		code  int
		out   string // part of standard output
		errs  string // part of standard error
	}{
		{[]string{"job", "submit", "-", "--vc", "research"}, goodJob, 0, "admin~sum submitted to virtual cluster research\n", ""},
		{[]string{"job", "submit", "-"}, goodJob + "extras: {x: y}\n", 0, "admin~sum", "-:6:10: extras.x: has no effect here"},
		{[]string{"job", "submit", "-", "--dry-run"}, goodJob, 0, "admin~sum would be submitted to virtual cluster default; nothing was created", ""},
		{[]string{"job", "submit", "-", "--dry-run"}, goodJob, 0, "w           1       1 cores, 16 MiB, 0 GPUs   0         1 succeeded", ""},
		{[]string{"job", "submit", "-", "--dry-run"}, goodJob + "extras: {timeLimit: 2h}\n", 0, "extras.timeLimit   a run of the job that takes longer than 2h0m0s fails", ""},
		{[]string{"job", "submit", file, "--dry-run"}, "", 1, "", "bad.yaml:1:7: name: can have letters"},
		{[]string{"job", "submit", file}, "", 1, "", "bad.yaml:1:7: name: can have letters"},
		{[]string{"job", "submit", file + "x"}, "", 2, "", "x not found"},
		{[]string{"job", "list"}, "", 0, "admin~train   RUNNING   1 of 2", ""},
		{[]string{"job", "show", "train"}, "", 0, "worker 0   RUNNING   gpu-01", ""},
		{[]string{"job", "show", "admin~train"}, "", 0, "admin~train: RUNNING", ""},
		{[]string{"job", "show", "train"}, "", 0, "(operation 20260102T030400.000Z)\n  2 of 2 containers still run, on gpu-01", ""},
		{[]string{"job", "show", "other"}, "", 1, "", "there is no job admin~other"},
		{[]string{"job", "logs", "train"}, "", 0, "step 1\n", "output before 12:00 might be missing\n"},
		{[]string{"job", "logs", "train", "--tail", "-1"}, "", 2, "", "must not be negative"},
		{[]string{"job", "logs", "train", "--index", "-1"}, "", 2, "", "must not be negative"},
		{[]string{"job", "logs", "train", "--attempt", "-1"}, "", 2, "", "must not be negative"},
		{[]string{"job", "logs", "train", "--attempt", "0"}, "", 0, "attempt 0\n", ""},
		{[]string{"job", "logs", "train", "--attempt", "2", "-f"}, "", 0, "attempt 2\n", ""},
		{[]string{"job", "logs", "-f", "train"}, "", 0, "step 1\n", ""},
		{[]string{"job", "stop", "train"}, "", 0, "admin~train is STOPPING", ""},
		{[]string{"job", "show", "train", "--cluster-id", "elsewhere"}, "", 1, "", "access to the REST server not found"},
		{[]string{"job", "show", "train", "--cluster-id", "../pai"}, "", 2, "", "is not a cluster ID"},
	} {
		code, out, errs := paictl(t, state, c.stdin, c.args...)
		if code != c.code || !strings.Contains(out, c.out) || !strings.Contains(errs, c.errs) {
			t.Errorf("paictl %s: code %d, want %d\n%s%s", strings.Join(c.args, " "), code, c.code, out, errs)
		}
	}
}

func TestJobJSON(t *testing.T) {
	t.Parallel()
	state := stateWith(t, "pai")
	for _, args := range [][]string{{"job", "list"}, {"job", "show", "train"}, {"job", "logs", "train"}, {"job", "stop", "train"}, {"job", "submit", "-"}, {"job", "submit", "-", "--dry-run"}} {
		code, out, errs := paictl(t, state, goodJob, append(args, "-o", "json")...)
		if code != 0 || !json.Valid([]byte(out)) {
			t.Errorf("%v: code %d, %s%s", args, code, out, errs)
		}
	}
}

// A job is shown also if its operations are unknown. A REST server of v0.10 has none.
func TestJobWithoutOperations(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		errs string
	}{{pai.Errorf(pai.CodeNotFound, "", "not found"), ""}, {pai.Errorf(pai.CodeFailed, "", "no API"), "the operations during this job are unknown"}} {
		code, out, errs := paictl(t, stateOf(t, &oneJob{unreported: c.err}, "pai"), "", "job", "show", "train")
		if code != 0 || !strings.Contains(out, "admin~train: RUNNING") || !strings.Contains(errs, c.errs) || (errs == "") != (c.errs == "") {
			t.Errorf("%v: code %d, %s%s", c.err, code, out, errs)
		}
	}
}

func TestWhichCluster(t *testing.T) {
	t.Parallel()
	if code, _, errs := paictl(t, t.TempDir(), "", "job", "list"); code != 2 || !strings.Contains(errs, "paictl up") {
		t.Errorf("none: code %d, %s", code, errs)
	}
	two := stateWith(t, "one", "two")
	if code, _, errs := paictl(t, two, "", "job", "list"); code != 2 || !strings.Contains(errs, "one, two") {
		t.Errorf("two: code %d, %s", code, errs)
	}
	if code, _, errs := paictl(t, two, "", "job", "list", "--cluster-id", "two"); code != 0 {
		t.Errorf("the second of two: code %d, %s", code, errs)
	}
}

func TestAccessIsPrivate(t *testing.T) {
	t.Parallel()
	info, err := os.Stat(filepath.Join(stateWith(t, "pai"), "clusters", "pai", rest.AccessFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}
