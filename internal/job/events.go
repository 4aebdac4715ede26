package job

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// LastSeen is when an event happened, or happened last.
func LastSeen(e corev1.Event) time.Time {
	last := e.CreationTimestamp.Time
	for _, at := range []time.Time{e.EventTime.Time, e.FirstTimestamp.Time, e.LastTimestamp.Time} {
		if at.After(last) {
			last = at
		}
	}
	if e.Series != nil && e.Series.LastObservedTime.After(last) {
		last = e.Series.LastObservedTime.Time
	}
	return last
}

// progress are the events after which an earlier warning is settled.
var progress = []string{"Scheduled", "Pulling", "Pulled", "Created", "Started"}

// Waits is what a task waits for: its message, with the newest warning about its pod if that
// says more.
func Waits(t TaskStatus, events []corev1.Event) string {
	if t.Machine == "" && t.Message != "" {
		return t.Message // the scheduler says the same there, and keeps it current
	}
	// That of a task with a machine is settled, also if it is of the same second.
	events = slices.DeleteFunc(slices.Clone(events), func(e corev1.Event) bool { return e.Reason == "FailedScheduling" && t.Machine != "" })
	warning, found := newestWarning(events)
	said := Clean(warning.Message, maxSaid)
	if !found || strings.Contains(t.Message, said) {
		return t.Message
	}
	said = fmt.Sprintf("%s at %s: %s", Clean(warning.Reason, 60), LastSeen(warning).UTC().Format("15:04:05 UTC"), said)
	if t.Message == "" {
		return said
	}
	return t.Message + "; " + said
}

// NotCreated is why the pods of a task role are not created, from the events of its Job; empty
// if no event has a reason.
func NotCreated(events []corev1.Event) string {
	events = slices.DeleteFunc(slices.Clone(events), func(e corev1.Event) bool { return e.Reason != "FailedCreate" })
	warning, found := newestWarning(events)
	if !found {
		return ""
	}
	said := Clean(warning.Message, maxSaid)
	helps := "ask your operator"
	if strings.Contains(said, "exceeded quota") {
		helps = "wait until jobs of the virtual cluster have ended, or ask your operator"
	}
	return fmt.Sprintf("the cluster refuses its pod; %s (%s)", helps, said)
}

// newestWarning is the newest warning that says something and that no progress settled.
func newestWarning(events []corev1.Event) (corev1.Event, bool) {
	events = slices.Clone(events)
	slices.SortStableFunc(events, func(a, b corev1.Event) int {
		if order := LastSeen(b).Compare(LastSeen(a)); order != 0 {
			return order
		}
		return strings.Compare(b.Type, a.Type) // of one second, a warning is first
	})
	for _, e := range events {
		switch {
		case e.Type != corev1.EventTypeWarning && slices.Contains(progress, e.Reason):
			return corev1.Event{}, false
		case e.Type == corev1.EventTypeWarning && saysSomething(e):
			return e, true
		}
	}
	return corev1.Event{}, false
}

// saysSomething reports whether an event has more than the reason of the kubelet, such as
// "Error: ImagePullBackOff".
func saysSomething(e corev1.Event) bool {
	words := strings.Fields(strings.TrimPrefix(strings.TrimSpace(e.Message), "Error: "))
	return len(words) > 1
}

// ObjectOfRole is the name of the Job of a task role.
func ObjectOfRole(s Status, role string) string { return s.Object + "-" + roleObject(role) + "-0" }

// WhyWaiting is what the first task that waits says; empty if none says anything.
func (s Status) WhyWaiting() string { return firstMessage(s.TaskRoles, StateWaiting) }
