package job

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestEndingHasTheReasonOfTheRuntime(t *testing.T) {
	t.Parallel()
	const way = `failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: `
	for _, test := range []struct {
		code                  int32
		reason, message, want string
	}{
		{3, "Error", "", "ended with exit code 3"},
		{3, "Error", "disk\nquota\n", "ended with exit code 3: disk quota"},
		{127, "Error", "", "ended with exit code 127: a command was not found; check the name of the command, or use an image that has it"},
		{127, "Error", "train:\n\x1b[2J not found", "ended with exit code 127: a command was not found; check the name of the command, or use an image that has it; it said: train: [2J not found"},
		{3, "Error", strings.Repeat("x", 5000), "ended with exit code 3: " + strings.Repeat("x", maxSaid-3) + "…"},
		{137, "OOMKilled", "step 7", "ended with exit code 137: it needed more memory than the task has; increase memoryMB; it said: step 7"},
		{137, "OOMKilled", "", "ended with exit code 137: it needed more memory than the task has; increase memoryMB"},
		{137, "ContainerStatusUnknown", "x", "its end was not observed, because its machine failed or restarted; if it was not retried, submit the job again"},
		{128, "StartError", way + `error during container init: exec: "/bin/sh": stat /bin/sh: no such file or directory: unknown`, "could not start: /bin/sh is not in the image; use an image that has it"},
		{128, "StartError", way + `exec: "bash": executable file not found in $PATH`, "could not start: bash is not in the image; use an image that has it"},
		{128, "StartError", way + "container init was OOM-killed (memory limit too low?): unknown", "could not start: the memory of the task is too small to start a container; increase memoryMB"},
		{128, "StartError", way + `exec /bin/sh: argument list too long`, "could not start: the commands of the task are longer than the kernel accepts; put them into a file of the image"},
		{128, "StartError", way + `exec: "/run.sh": permission denied: unknown`, "could not start: /run.sh in the image is not executable"},
		{128, "StartError", "something\nnew", "could not start: something new"},
		{128, "StartError", "", "could not start: the runtime gave no reason"},
		{0, "Unheard", "", "ended with exit code 0 (Unheard)"},
	} {
		if got := ending(&corev1.ContainerStateTerminated{ExitCode: test.code, Reason: test.reason, Message: test.message}); got != test.want {
			t.Errorf("%d %s: got %q, want %q", test.code, test.reason, got, test.want)
		}
	}
}

// The table of the documents is that of the code.
func TestExitReasonsAreDocumented(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/jobs.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range ExitReasons() {
		if row := fmt.Sprintf("| %d | %s | %s |", r.Code, r.Meaning, r.Advice); !strings.Contains(string(page), row) {
			t.Errorf("docs/jobs.md lacks the row %s", row)
		}
	}
	for _, r := range EndReasons() {
		if row := fmt.Sprintf("| `%s` | %s | %s |", r.Reason, r.Meaning, r.Advice); !strings.Contains(string(page), row) {
			t.Errorf("docs/jobs.md lacks the row %s", row)
		}
	}
}

// What the kubelet ends is explained by its reason.
func TestEndOfAPodHasItsReason(t *testing.T) {
	t.Parallel()
	const evicted = "its machine ended it, because it used more disk space than its limit, or because the machine ran out of disk space or memory; use less disk space, or ask your operator for a larger limit"
	for _, c := range []struct{ reason, message, want string }{
		{"Evicted", "Pod ephemeral local storage usage exceeds the total limit of containers 10Gi. ", evicted + " (Pod ephemeral local storage usage exceeds the total limit of containers 10Gi.)"},
		{"Evicted", "", evicted},
		{"UnexpectedAdmissionError", "Allocate failed:\nno GPU", "Allocate failed: no GPU"},
		{"NodeLost", "", "NodeLost"},
	} {
		p := pod("1", corev1.PodFailed, 0, exited(137))
		p.Status.Reason, p.Status.Message = c.reason, c.message
		s, err := ReadStatus(jobSetOf(t, false, ""), []corev1.Pod{p})
		if err != nil || s.TaskRoles[0].Tasks[1].Message != c.want {
			t.Errorf("%s: got %q, %v, want %q", c.reason, s.TaskRoles[0].Tasks[1].Message, err, c.want)
		}
	}
}

func TestWaitingNamesWhatHelps(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ reason, message, want string }{
		{"ContainerCreating", "", "ContainerCreating: the machine prepares the container"},
		{"ErrImageNeverPull", `Container image "pai.local/x:v1" is not present with pull policy of Never`, `ErrImageNeverPull: the machine does not have the image; ask your operator to import it; run: paictl image load (Container image "pai.local/x:v1" is not present with pull policy of Never)`},
		{"RunContainerError", `exec: "/bin/sh": stat /bin/sh: no such file or directory`, "/bin/sh is not in the image; use an image that has it"},
		{"New", "", "New"},
	} {
		if got := waiting(&corev1.ContainerStateWaiting{Reason: test.reason, Message: test.message}); got != test.want {
			t.Errorf("%s: got %q, want %q", test.reason, got, test.want)
		}
	}
	for message, want := range map[string]string{
		"0/3 nodes are available: 1 Insufficient nvidia.com/gpu, 2 Insufficient memory. preemption: 0/3 nodes are available.": "no machine has enough free nvidia.com/gpu, memory; the task starts when others end (0/3 nodes are available: 1 Insufficient nvidia.com/gpu, 2 Insufficient memory)",
		"0/1 nodes are available: 1 node(s) were unschedulable.":                                                              "0/1 nodes are available: 1 node(s) were unschedulable.",
		"": "",
	} {
		if got := unscheduled(message, ""); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	for message, want := range map[string]string{
		"0/9 nodes are available: 1 Insufficient nvidia.com/gpu, 8 node(s) didn't match Pod's node affinity/selector. preemption: x": "no machine of the kind a100 has enough free nvidia.com/gpu; the task starts when others end (0/9 nodes are available: 1 Insufficient nvidia.com/gpu, 8 node(s) didn't match Pod's node affinity/selector)",
		"0/9 nodes are available: 9 node(s) didn't match Pod's node affinity/selector. preemption: x":                                "no machine is of the kind a100 any more; ask an operator, or submit the job with another skuType",
		"0/9 nodes are available: 1 node(s) were unschedulable, 8 node(s) didn't match Pod's node affinity/selector.":                "no machine of the kind a100 can run the task now (0/9 nodes are available: 1 node(s) were unschedulable, 8 node(s) didn't match Pod's node affinity/selector)",
		"": "",
	} {
		p := &corev1.Pod{Spec: corev1.PodSpec{NodeSelector: map[string]string{"pai.dev/machine-sku": "a100"}}}
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Message: message}}
		if got := waitingFor(p); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// A container that never ran has 1970 as its start.
func TestNoTimeIs1970(t *testing.T) {
	t.Parallel()
	p := pod("1", corev1.PodFailed, 0, corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
		ExitCode: 128, Reason: "StartError", StartedAt: metav1.Unix(0, 0), FinishedAt: metav1.NewTime(noon), Message: "why",
	}})
	s, err := ReadStatus(jobSetOf(t, false, "", "Failed"), []corev1.Pod{p})
	if err != nil {
		t.Fatal(err)
	}
	task := s.TaskRoles[0].Tasks[1]
	if !s.Started.IsZero() || !task.Started.IsZero() || !task.Ended.Equal(noon) || s.Message != "worker 1: could not start: why (because)" {
		t.Errorf("got a job that started at %v with message %q, and a task from %v to %v", s.Started, s.Message, task.Started, task.Ended)
	}
	if got := moment(time.Unix(0, 0)); !got.IsZero() {
		t.Errorf("got %v", got)
	}
}
