package job

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// ExitReason is what an exit code of a task means, and what its user can do.
type ExitReason struct {
	Code    int
	Meaning string
	Advice  string
}

// ExitReasons are the exit codes with a known meaning: those of the shell
// that runs the commands, and 128 plus the number of a signal. docs/jobs.md has the
// same table.
func ExitReasons() []ExitReason {
	return []ExitReason{
		{126, "a command could not be executed", "make the file executable in the image, and check that it is for this kind of processor"},
		{127, "a command was not found", "check the name of the command, or use an image that has it"},
		{130, "a program was interrupted (SIGINT)", "see the output of the task"},
		{132, "a program used an instruction that the processor does not have (SIGILL)", "use a build for this processor"},
		{134, "a program aborted (SIGABRT)", "see the end of the output of the task"},
		{135, "a program was killed by a bus error (SIGBUS)", "often the shared memory is too small: use less of it, or fewer data loader processes"},
		{136, "a program was killed by an arithmetic error (SIGFPE)", "see the end of the output of the task"},
		{137, "a program was killed (SIGKILL)", "often a process needed more memory than the task has: increase memoryMB, or see the output of the task"},
		{139, "a program was killed by a segmentation fault (SIGSEGV)", "check that the libraries in the image fit the driver and each other"},
		{141, "a program wrote to a closed pipe (SIGPIPE)", "see the commands of the task"},
		{143, "a program was asked to end (SIGTERM)", "if the job was not stopped, see the output of the task"},
	}
}

// EndReason is what a reason of the kubelet or the runtime for the end of a task means, and what
// its user can do.
type EndReason struct {
	Reason  string
	Meaning string
	Advice  string
}

// EndReasons are the reasons with a known meaning. docs/jobs.md has the same table.
func EndReasons() []EndReason {
	return []EndReason{
		{"OOMKilled", "it needed more memory than the task has", "increase memoryMB"},
		{"StartError", "the runtime could not start the container", "see the reason that follows: often the image lacks a program, or memoryMB is too small"},
		{"Evicted", "its machine ended it, because it used more disk space than its limit, or because the machine ran out of disk space or memory", "use less disk space, or ask your operator for a larger limit"},
		{"ContainerStatusUnknown", "its end was not observed, because its machine failed or restarted", "if it was not retried, submit the job again"},
	}
}

// knownReason is the sentence about a reason; empty if its meaning is not known.
func knownReason(reason string) string {
	for _, r := range EndReasons() {
		if r.Reason == reason {
			return r.Meaning + "; " + r.Advice
		}
	}
	return ""
}

// ending is why a container ended with an error, what helps, and what it said itself.
func ending(end *corev1.ContainerStateTerminated) string {
	code := fmt.Sprintf("ended with exit code %d", end.ExitCode)
	switch end.Reason {
	case "OOMKilled":
		return code + ": " + knownReason(end.Reason) + lastWords(end.Message)
	case "StartError", "ContainerCannotRun":
		return "could not start: " + startFailure(end.Message)
	case "ContainerStatusUnknown":
		return knownReason(end.Reason) // its message is that of the kubelet, and says the same
	}
	for _, r := range ExitReasons() {
		if r.Code == int(end.ExitCode) {
			return code + ": " + r.Meaning + "; " + r.Advice + lastWords(end.Message)
		}
	}
	if end.Reason != "Error" && end.Reason != "" {
		code += " (" + Clean(end.Reason, maxSaid) + ")"
	}
	if said := Clean(end.Message, maxSaid); said != "" {
		code += ": " + said
	}
	return code
}

// lastWords are what a container wrote about its end (/dev/termination-log).
func lastWords(message string) string {
	said := Clean(message, maxSaid)
	if said == "" {
		return ""
	}
	return "; it said: " + said
}

// podEnding is why the kubelet ended a pod; empty if it did not.
func podEnding(reason, message string) string {
	said := Clean(message, maxSaid)
	known := knownReason(reason)
	switch {
	case known != "" && said != "":
		return known + " (" + said + ")"
	case known != "":
		return known
	case said != "":
		return said
	}
	return Clean(reason, maxSaid)
}

// startFailures find the cause in what a runtime reports. The cause is its last
// part; all before it is the way through the runtime.
var startFailures = []struct {
	find *regexp.Regexp
	say  string // $1 is the first group
}{
	{regexp.MustCompile(`exec: "([^"]+)": (?:stat [^:]+: no such file or directory|executable file not found in \$PATH)`), "$1 is not in the image; use an image that has it"},
	{regexp.MustCompile(`exec ([^:\s]+): no such file or directory`), "$1 is not in the image, or its interpreter is not; use another image"},
	{regexp.MustCompile(`(?i)(?:container init was OOM-killed|memory limit too low|oom-kill)`), "the memory of the task is too small to start a container; increase memoryMB"},
	{regexp.MustCompile(`argument list too long`), "the commands of the task are longer than the kernel accepts; put them into a file of the image"},
	{regexp.MustCompile(`exec format error`), "the image is for another kind of processor; use one for this machine"},
	{regexp.MustCompile(`exec:? "?([^":\s]+)"?: permission denied`), "$1 in the image is not executable"},
	{regexp.MustCompile(`unable to find user ([^:\s]+): no matching entries`), "the image has no user $1"},
	{regexp.MustCompile(`no space left on device`), "the disk of the machine is full; ask your operator to free space"},
}

// startFailure is what a runtime reports, in a sentence. What is unknown stays in
// the words of the runtime.
func startFailure(message string) string {
	message = Clean(message, 8<<10) // the kubelet stores no longer one, and the cause is at its end
	for _, f := range startFailures {
		if at := f.find.FindStringSubmatchIndex(message); at != nil {
			return Clean(string(f.find.ExpandString(nil, f.say, message, at)), maxSaid)
		}
	}
	if message == "" {
		return "the runtime gave no reason"
	}
	return Clean(message, maxSaid)
}

// waitingReasons say what a task waits for that has no container yet, by the reason
// of the kubelet.
var waitingReasons = map[string]string{
	"ErrImageNeverPull": "the machine does not have the image; ask your operator to import it; run: paictl image load",
	"ImagePullBackOff":  "the image cannot be pulled; check its uri, and that the machine reaches its registry",
	"ErrImagePull":      "the image cannot be pulled; check its uri, and that the machine reaches its registry",
	"InvalidImageName":  "the uri of the image is not valid",
	"ContainerCreating": "the machine prepares the container",
	"PodInitializing":   "the machine prepares the container",
}

// waiting is what a container waits for.
func waiting(w *corev1.ContainerStateWaiting) string {
	say, known := waitingReasons[w.Reason]
	switch {
	case !known && w.Message == "":
		return Clean(w.Reason, maxSaid)
	case !known:
		return startFailure(w.Message)
	case w.Message == "":
		return w.Reason + ": " + say
	default:
		return w.Reason + ": " + say + " (" + Clean(w.Message, maxSaid) + ")"
	}
}

var shortOf = regexp.MustCompile(`Insufficient ([^\s,.]+(?:\.[^\s,.]+)*)`)

// notOfKind is how the scheduler says that no machine is of the kind that a pod chose.
var notOfKind = regexp.MustCompile(`^0/(\d+) nodes are available: (\d+) node\(s\) didn't match Pod's node affinity/selector\.?$`)

// unscheduled is why no machine was found for a pod that chose a kind of machine, or
// none, from the words of the scheduler.
func unscheduled(message, kind string) string {
	message, _, _ = strings.Cut(message, " preemption:")
	message = Clean(message, maxSaid)
	machine := "machine"
	if kind != "" {
		machine = "machine of the kind " + kind
		if n := notOfKind.FindStringSubmatch(strings.TrimSpace(message)); n != nil && n[1] == n[2] {
			return fmt.Sprintf("no machine is of the kind %s any more; ask an operator, or submit the job with another skuType", kind)
		}
	}
	var short []string
	for _, found := range shortOf.FindAllStringSubmatch(message, -1) {
		short = append(short, found[1])
	}
	switch {
	case len(short) > 0:
		return fmt.Sprintf("no %s has enough free %s; the task starts when others end (%s)", machine, strings.Join(short, ", "), strings.TrimSuffix(message, "."))
	case kind != "" && message != "":
		return fmt.Sprintf("no %s can run the task now (%s)", machine, strings.TrimSuffix(message, "."))
	default:
		return message
	}
}

// moment is a time of the kubelet. A container that never ran has the start of the
// Unix epoch there.
func moment(t time.Time) time.Time {
	if t.Unix() <= 0 {
		return time.Time{}
	}
	return t
}
