package witness

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"pai.dev/pai/internal/observe/running"
)

// sign is what one look at a pod says of a container that ran at the start.
type sign int

const (
	signNothing sign = iota // says nothing about that container
	signAlive
	signSucceeded // ended by itself, with success
	signFailed    // ended with an error, or was replaced
	signDeleted   // ended because its pod was, or is being, deleted
)

// evidence is a sign with what is known of it.
type evidence struct {
	sign  sign
	cause string
	at    time.Time // when it ended, zero when the look does not say
}

// judge reads what a pod, as the API shows it, says of a container.
func judge(c *WatchedContainer, p *corev1.Pod) evidence {
	status, found := statusOf(p, c.Name)
	if !found {
		return judgePhase(p)
	}
	if running.ContainerID(status.ContainerID) == c.ID && status.State.Running != nil {
		if p.Status.Phase == corev1.PodFailed { // evicted or lost, its containers not accounted for
			return judgePhase(p)
		}
		return evidence{sign: signAlive}
	}
	ended := endOf(c.ID, status)
	if replaced(c, status) {
		return evidence{signFailed, withDisruption(p, replacedCause(status, ended)), endTime(ended)}
	}
	if ended == nil {
		return judgePhase(p)
	}
	e := evidence{at: endTime(ended)}
	switch {
	case endedByDeletion(p, ended):
		e.sign, e.cause = signDeleted, withDisruption(p, fmt.Sprintf("its pod was deleted (%s)", exit(ended)))
	case ended.ExitCode != 0:
		e.sign, e.cause = signFailed, withDisruption(p, exit(ended))
	case p.Status.Phase == corev1.PodFailed && p.Status.Reason != "":
		e.sign, e.cause = signFailed, withDisruption(p, podReason(p)+", "+exit(ended))
	default:
		e.sign, e.cause = signSucceeded, exit(ended)
	}
	return e
}

func statusOf(p *corev1.Pod, name string) (corev1.ContainerStatus, bool) {
	for _, list := range [][]corev1.ContainerStatus{p.Status.InitContainerStatuses, p.Status.ContainerStatuses} {
		for _, s := range list {
			if s.Name == name {
				return s, true
			}
		}
	}
	return corev1.ContainerStatus{}, false
}

// judgePhase is for a pod that says nothing of the container itself.
func judgePhase(p *corev1.Pod) evidence {
	switch p.Status.Phase {
	case corev1.PodSucceeded:
		return evidence{sign: signSucceeded, cause: "its pod succeeded"}
	case corev1.PodFailed:
		return evidence{sign: signFailed, cause: withDisruption(p, podReason(p))}
	default:
		return evidence{}
	}
}

func podReason(p *corev1.Pod) string {
	text := strings.TrimSpace(p.Status.Reason + ": " + p.Status.Message)
	return "its pod failed: " + strings.Trim(text, ": ")
}

// endOf is how the container with this ID ended, where the status says so.
func endOf(id string, s corev1.ContainerStatus) *corev1.ContainerStateTerminated {
	for _, t := range []*corev1.ContainerStateTerminated{s.State.Terminated, s.LastTerminationState.Terminated} {
		if t == nil {
			continue
		}
		if running.ContainerID(t.ContainerID) == id || (t.ContainerID == "" && running.ContainerID(s.ContainerID) == id) {
			return t
		}
	}
	return nil
}

// replaced reports whether another container has, or is about to get, the place
// of the one that ran.
func replaced(c *WatchedContainer, s corev1.ContainerStatus) bool {
	id := running.ContainerID(s.ContainerID)
	return int(s.RestartCount) > c.Restarts || (id != "" && id != c.ID)
}

func replacedCause(s corev1.ContainerStatus, ended *corev1.ContainerStateTerminated) string {
	how := "how it ended is not known"
	if ended != nil {
		how = exit(ended)
	}
	return fmt.Sprintf("replaced by container %s, restart %d (%s)", short(running.ContainerID(s.ContainerID)), s.RestartCount, how)
}

func exit(t *corev1.ContainerStateTerminated) string {
	text := fmt.Sprintf("exit code %d", t.ExitCode)
	if t.Signal != 0 {
		text = fmt.Sprintf("signal %d, %s", t.Signal, text)
	}
	if t.Reason != "" {
		text += ", " + t.Reason
	}
	return text
}

func endTime(t *corev1.ContainerStateTerminated) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.FinishedAt.Time
}

// endedByDeletion reports whether a container ended after someone asked for its
// pod's deletion, so that its exit code is not its own choice.
func endedByDeletion(p *corev1.Pod, ended *corev1.ContainerStateTerminated) bool {
	if p.DeletionTimestamp == nil {
		return false
	}
	asked := p.DeletionTimestamp.Time
	if p.DeletionGracePeriodSeconds != nil {
		asked = asked.Add(-time.Duration(*p.DeletionGracePeriodSeconds) * time.Second)
	}
	return !ended.FinishedAt.Time.Before(asked.Truncate(time.Second))
}

// withDisruption adds who ended a pod, where Kubernetes says so.
func withDisruption(p *corev1.Pod, cause string) string {
	if d := disruption(p); d != "" {
		return cause + "; " + d
	}
	return cause
}

func disruption(p *corev1.Pod) string {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.DisruptionTarget && c.Status == corev1.ConditionTrue {
			return strings.Trim(c.Reason+": "+c.Message, ": ")
		}
	}
	return ""
}

// short is enough of a container ID to find it.
func short(id string) string {
	if len(id) > 12 {
		return id[:12]
	}
	return id
}
