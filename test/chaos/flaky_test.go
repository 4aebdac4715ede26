package chaos

import (
	"strings"
	"testing"

	"pai.dev/pai/internal/job"
)

func TestFlakyJobsAreValid(t *testing.T) {
	t.Parallel()
	for _, b := range flakyJobs() {
		spec, warnings, err := job.Parse([]byte(b.protocol()), job.ParseOptions{VirtualClusters: []string{"default"}})
		if err != nil || len(warnings) > 0 {
			t.Errorf("%s: got error %v, warnings %v", b.name, err, warnings)
			continue
		}
		role := spec.TaskRoles[0]
		if spec.Name != b.name || role.Instances != b.tasks || role.RetryCount != 1000 || role.MemoryMB != int64(b.memoryMB) || role.Commands[0] != b.command {
			t.Errorf("%s: got %+v", b.name, role)
		}
	}
}

func TestCheckFlaky(t *testing.T) {
	t.Parallel()
	victim := Container{Pod: "victim-worker-0-0-x"}
	end := func(job, pod, cause string, evidence ...string) ended {
		return ended{Job: "root~" + job, Pod: pod, Cause: cause, Evidence: evidence}
	}
	flaky, hungry := end(flakyJob, "f", "exit code 1, Error"), end(hungryJob, "h", "exit code 137, OOMKilled")
	killed, inStep := end(victimJob, victim.Pod, "exit code 137, Error"), end(flakyJob, "g", "exit code 1", "in progress, and able to end it: kubelet")
	after := end(flakyJob, "a", "exit code 1", "container task of pod g of the same job ended before, for an unknown reason, and might be the cause")
	for name, test := range map[string]struct {
		failed, interrupted, unknown []ended
		problem                      string
	}{
		"as it must be":          {[]ended{flaky, hungry}, []ended{killed}, []ended{inStep}, ""},
		"one after another":      {[]ended{flaky, hungry}, []ended{killed}, []ended{inStep, after}, ""},
		"after no other":         {[]ended{flaky, hungry}, []ended{killed}, []ended{after}, "does not know"},
		"the victim failed":      {[]ended{flaky, hungry, killed}, nil, nil, "failed by itself"},
		"the victim is unknown":  {[]ended{flaky, hungry}, nil, []ended{killed}, "does not know"},
		"the victim is missing":  {[]ended{flaky, hungry}, nil, nil, "0 times"},
		"a task was interrupted": {[]ended{flaky, hungry}, []ended{killed, flaky}, nil, "was interrupted"},
		"a task is unknown":      {[]ended{flaky, hungry}, []ended{killed}, []ended{flaky}, "does not know"},
		"the job ended":          {[]ended{flaky, hungry, end("train", "t", "exit code 1")}, []ended{killed}, nil, "train"},
		"no hungry task":         {[]ended{flaky}, []ended{killed}, nil, "0 hungry"},
		"no flaky task":          {[]ended{hungry}, []ended{killed}, nil, "0 flaky"},
		"killed, not for memory": {[]ended{flaky, hungry, end(hungryJob, "h", "exit code 137")}, []ended{killed}, nil, "failed by itself"},
	} {
		var o operation
		o.Jobs.Failed, o.Jobs.Interrupted, o.Jobs.Unknown = test.failed, test.interrupted, test.unknown
		got := strings.Join(checkFlaky([]operation{{}, o}, victim), "\n")
		if (test.problem == "") != (got == "") || !strings.Contains(got, test.problem) {
			t.Errorf("%s: got %q, want %q", name, got, test.problem)
		}
	}
}

func TestFlakyJobsIsAFault(t *testing.T) {
	t.Parallel()
	f, err := Find("flaky-jobs", 1)
	if err != nil || f.Besides == nil || f.Check == nil || f.Inject == nil {
		t.Errorf("got %+v, error %v", f, err)
	}
}
