package witness

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"pai.dev/pai/internal/observe/running"
)

// sign is what the API reports about a container that ran at the start.
type sign int

const (
	signNothing sign = iota // nothing about that container
	signAlive
	signSucceeded // ended by itself, with success
	signFailed    // ended with an error, or was replaced
	signDeleted   // ended because its pod was, or is being, deleted
)

// evidence is a sign with its details.
type evidence struct {
	sign  sign
	cause string
	at    time.Time   // when the container ended; zero if unknown
	exit  *exitStatus // nil if unknown
	// disruption and podFailure are why Kubernetes ended the pod, if it did.
	disruption, podFailure string
	// diskLimit is what the kubelet says about the own disk limit that the pod exceeded.
	diskLimit string
	replaced  string // the container that took its place
}

// evaluate returns the evidence about a container in a pod of the API.
func evaluate(c *WatchedContainer, p *corev1.Pod) evidence {
	e := evaluateStatus(c, p)
	e.disruption = disruption(p)
	switch limit := ownDiskLimit(p); {
	case p.Status.Phase != corev1.PodFailed || p.Status.Reason == "":
	case limit != "" && endedByEviction(p, e):
		e.diskLimit, e.cause = limit, podReason(p)+", "+e.exit.String()
	default:
		e.podFailure = podReason(p)
	}
	return e
}

func evaluateStatus(c *WatchedContainer, p *corev1.Pod) evidence {
	status, found := statusOf(p, c.Name)
	if !found {
		return evaluatePhase(p)
	}
	if running.ContainerID(status.ContainerID) == c.ID && status.State.Running != nil {
		if p.Status.Phase == corev1.PodFailed { // evicted or lost: its containers are not reported
			return evaluatePhase(p)
		}
		return evidence{sign: signAlive}
	}
	ended := endOf(c.ID, status)
	e := evidence{at: endTime(ended), exit: exitOf(p, c.Name, ended)}
	if replaced(c, status) {
		e.sign, e.cause, e.replaced = signFailed, withDisruption(p, replacedCause(status, ended)), short(running.ContainerID(status.ContainerID))
		return e
	}
	if ended == nil {
		return evaluatePhase(p)
	}
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
	all := slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses)
	i := slices.IndexFunc(all, func(s corev1.ContainerStatus) bool { return s.Name == name })
	if i < 0 {
		return corev1.ContainerStatus{}, false
	}
	return all[i], true
}

// evaluatePhase is for a pod that reports nothing about the container itself.
func evaluatePhase(p *corev1.Pod) evidence {
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
	return "its pod failed: " + strings.Trim(p.Status.Reason+": "+p.Status.Message, ": ")
}

// endOf returns how the container with this ID ended; nil if unknown.
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

// replaced reports whether the container was, or is about to be, replaced.
func replaced(c *WatchedContainer, s corev1.ContainerStatus) bool {
	id := running.ContainerID(s.ContainerID)
	return int(s.RestartCount) > c.Restarts || (id != "" && id != c.ID)
}

func replacedCause(s corev1.ContainerStatus, ended *corev1.ContainerStateTerminated) string {
	how := "end state unknown"
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

// exitOf returns how the process of a container exited; nil if unknown.
func exitOf(p *corev1.Pod, name string, t *corev1.ContainerStateTerminated) *exitStatus {
	if t == nil {
		return nil
	}
	e := &exitStatus{code: int(t.ExitCode), signal: int(t.Signal), reason: t.Reason}
	for _, c := range slices.Concat(p.Spec.InitContainers, p.Spec.Containers) {
		e.limited = e.limited || c.Name == name && !c.Resources.Limits.Memory().IsZero()
	}
	return e
}

func endTime(t *corev1.ContainerStateTerminated) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.FinishedAt.Time
}

// endedByDeletion reports whether the container ended after the deletion of its
// pod was requested. Its exit code is then not its own choice.
func endedByDeletion(p *corev1.Pod, ended *corev1.ContainerStateTerminated) bool {
	return p.DeletionTimestamp != nil && !ended.FinishedAt.Time.Before(deletionRequested(p).Truncate(time.Second))
}

// deletionRequested is when the deletion of a pod was requested: the API has the end of
// its grace period.
func deletionRequested(p *corev1.Pod) time.Time {
	requested := p.DeletionTimestamp.Time
	if p.DeletionGracePeriodSeconds != nil {
		requested = requested.Add(-time.Duration(*p.DeletionGracePeriodSeconds) * time.Second)
	}
	return requested
}

// withDisruption adds what ended the pod, if Kubernetes reports it.
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

// short returns enough of a container ID to find it.
func short(id string) string { return id[:min(len(id), 12)] }
