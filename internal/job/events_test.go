package job

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// event is one that happened some seconds after noon.
func event(kind, reason, message string, seconds int) corev1.Event {
	return corev1.Event{Type: kind, Reason: reason, Message: message, LastTimestamp: metav1.NewTime(noon.Add(time.Duration(seconds) * time.Second))}
}

func TestWaitingTaskSaysItsNewestWarning(t *testing.T) {
	t.Parallel()
	const prepares = "ContainerCreating: the machine prepares the container"
	placed := TaskStatus{Machine: "gpu-01", Message: prepares}
	mount := event("Warning", "FailedMount", "MountVolume.SetUp failed for volume \"script\":\n\x1b[2J configmap not found", 5)
	for name, c := range map[string]struct {
		task   TaskStatus
		events []corev1.Event
		want   string
	}{
		"nothing":  {placed, nil, prepares},
		"sandbox":  {placed, []corev1.Event{event("Warning", "FailedCreatePodSandBox", "no address left", 9), mount}, prepares + "; FailedCreatePodSandBox at 12:00:09 UTC: no address left"},
		"mount":    {placed, []corev1.Event{event("Normal", "Scheduled", "to gpu-01", 5), mount}, prepares + `; FailedMount at 12:00:05 UTC: MountVolume.SetUp failed for volume "script": [2J configmap not found`},
		"settled":  {placed, []corev1.Event{mount, event("Normal", "Pulling", "image", 6)}, prepares},
		"a series": {placed, []corev1.Event{{Type: "Warning", Reason: "FailedMount", Message: "again and again", Series: &corev1.EventSeries{LastObservedTime: metav1.NewMicroTime(noon.Add(time.Minute))}}, mount}, prepares + "; FailedMount at 12:01:00 UTC: again and again"},
		"says nothing itself": {TaskStatus{Machine: "gpu-01"}, []corev1.Event{event("Warning", "Failed", "Error: ErrImagePull", 8), event("Warning", "Failed", "Failed to pull image: denied", 7), event("Normal", "BackOff", "x y", 9)},
			"Failed at 12:00:07 UTC: Failed to pull image: denied"},
		"known already":    {TaskStatus{Machine: "gpu-01", Message: "it is denied (pull denied)"}, []corev1.Event{event("Warning", "Failed", "pull denied", 8)}, "it is denied (pull denied)"},
		"no machine":       {TaskStatus{Message: "no machine has enough free memory"}, []corev1.Event{event("Warning", "FailedScheduling", "0/3 nodes are available", 8)}, "no machine has enough free memory"},
		"only the event":   {TaskStatus{}, []corev1.Event{event("Warning", "FailedScheduling", "0/3 nodes are available", 8)}, "FailedScheduling at 12:00:08 UTC: 0/3 nodes are available"},
		"found a machine":  {placed, []corev1.Event{event("Warning", "FailedScheduling", "0/3 nodes are available", 8)}, prepares},
		"of another state": {placed, []corev1.Event{event("Normal", "Killing", "stops it", 9)}, prepares},
	} {
		if got := Waits(c.task, c.events); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

func TestRefusedPodsAreExplained(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		events []corev1.Event
		want   string
	}{
		"nothing": {nil, ""},
		"other":   {[]corev1.Event{event("Warning", "BackoffLimitExceeded", "too many failures", 1)}, ""},
		"quota": {[]corev1.Event{event("Warning", "FailedCreate", `Error creating: pods "x" is forbidden: exceeded quota: objects`, 1)},
			`the cluster refuses its pod; wait until jobs of the virtual cluster have ended, or ask your operator (Error creating: pods "x" is forbidden: exceeded quota: objects)`},
		"policy": {[]corev1.Event{event("Warning", "FailedCreate", "older reason", 1), event("Warning", "FailedCreate", "Error creating: denied by policy", 2)},
			"the cluster refuses its pod; ask your operator (Error creating: denied by policy)"},
	} {
		if got := NotCreated(c.events); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}
