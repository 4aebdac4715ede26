package job

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// withRoles is a job with n task roles.
func withRoles(n, instances int, name, parameter, command string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "protocolVersion: 2\nname: wide\ntype: job\nprerequisites:\n  - {name: i, type: dockerimage, uri: 'pai.local/example:v1'}\nparameters: {x: %q}\ntaskRoles:\n", parameter)
	for i := range n {
		fmt.Fprintf(&b, "  %s%d:\n    instances: %d\n    dockerImage: i\n    resourcePerInstance: {cpu: 0.001, memoryMB: 16, gpu: 0}\n    commands: [%q]\n", name, i, instances, command)
	}
	return []byte(b.String())
}

func objectsOf(text []byte) (Objects, error) {
	job, _, err := Parse(text, ParseOptions{})
	if err != nil {
		return Objects{}, err
	}
	return job.Objects("alice", text, "texts")
}

// processorTime is what a call takes of a processor, however busy the host is.
func processorTime(t *testing.T, call func()) time.Duration {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	used := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_THREAD, &u); err != nil {
			t.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	before := used()
	call()
	return used() - before
}

// Each of these jobs has less than MaxSize bytes. It is refused with the number that
// it comes to and the limit, at once, and in little memory.
func TestJobsThatBecomeTooLargeAreRefused(t *testing.T) {
	const refer = "<%$parameters.x%>"
	for _, c := range []struct {
		name string
		text []byte
		want string
	}{
		{"8 roles of 1000 instances", withRoles(8, 1000, "r", "", "sleep 1"), "taskRoles: the objects of 8000 tasks come to "},
		{"the same with 110 kB of commands", withRoles(8, 1000, "r", strings.Repeat("x", 110_000), "echo "+refer), "taskRoles: the commands of all task roles come to 880216 bytes; the limit is 786432"},
		{"the same with 90 kB of commands", withRoles(8, 1000, "r", strings.Repeat("x", 90_000), "echo "+refer), "taskRoles: the objects of 8000 tasks come to "},
		{"names of roles, in each pod", withRoles(8, 400, strings.Repeat("r", 250), "", "sleep 1"), "the limit for a job is 32.0 MB"},
		{"nine roles", withRoles(9, 1, "r", "", "sleep 1"), "taskRoles: has 9 task roles; the limit is 8"},
		{"a long parameter twice", withRoles(1, 1, "r", strings.Repeat("x", 70_000), "echo "+refer+refer),
			"taskRoles.r0.commands: the commands come to 140028 bytes with their references filled in; the limit is 131071"},
		{"a parameter 2500 times", withRoles(1, 1, "r", strings.Repeat("x", 60_000), "echo "+strings.Repeat(refer, 2500)), "come to 150000028 bytes"},
		{"a parameter 3800 times", withRoles(1, 1, "r", strings.Repeat("x", 60_000), "echo "+strings.Repeat(refer, 3800)), "come to 228000028 bytes"},
		{"long commands in each role", withRoles(8, 1, "r", strings.Repeat("x", 120_000), "echo "+refer), "taskRoles: the commands of all task roles come to 960216 bytes; the limit is 786432"},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		var err error
		took := processorTime(t, func() { _, err = objectsOf(c.text) })
		runtime.ReadMemStats(&after)
		var problems Problems
		if !errors.As(err, &problems) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", c.name, err, c.want)
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > 64<<20 || took > time.Second {
			t.Errorf("%s: %d MB in %s", c.name, used>>20, took)
		}
		if len(c.text) > MaxSize {
			t.Errorf("%s has %d bytes", c.name, len(c.text))
		}
	}
}

// 3800 references to parameters that do not exist, beside 8000 that do: the names are
// sorted once and compared for few of them.
func TestMissingReferencesAreCheap(t *testing.T) {
	var b strings.Builder
	b.WriteString(good + "parameters:\n")
	for i := range 5000 {
		fmt.Fprintf(&b, "  parameter%d: x\n", i)
	}
	text := strings.Replace(b.String(), "echo hello", strings.Repeat("<%$parameters.y%>", 2000), 1)
	var err error
	took := processorTime(t, func() { _, _, err = Parse([]byte(text), ParseOptions{}) })
	var problems Problems
	if took > time.Second || !errors.As(err, &problems) || len(problems) > maxProblems+1 {
		t.Errorf("%s, %d problems", took, len(problems))
	}
}

// Every job that is accepted fits into what the API and etcd take for one object,
// and no task has the script in its pod.
func TestObjectsOfAnAcceptedJobAreSmall(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := withRoles(
			rapid.IntRange(1, 9).Draw(t, "roles"), rapid.IntRange(1, 1000).Draw(t, "instances"),
			strings.Repeat("r", rapid.IntRange(1, 254).Draw(t, "length of names")),
			strings.Repeat("x", rapid.IntRange(0, 100_000).Draw(t, "parameter")),
			"echo marker "+strings.Repeat("<%$parameters.x%>", rapid.IntRange(0, 3).Draw(t, "references")))
		o, err := objectsOf(text)
		if err != nil {
			return
		}
		set, err := json.Marshal(o.JobSet.Object)
		if err != nil {
			t.Fatal(err)
		}
		texts, err := json.Marshal(o.Texts.Object)
		if err != nil {
			t.Fatal(err)
		}
		if len(set) > 256<<10 || len(texts) > 1<<20 {
			t.Fatalf("the JobSet has %d bytes, the texts have %d", len(set), len(texts))
		}
		if strings.Contains(string(set), "marker") {
			t.Fatal("the JobSet has a script")
		}
	})
}
