package witness

import (
	"fmt"
	"slices"
	"time"
)

// Verdict says who ended a container that did not end with success.
type Verdict string

const (
	// Failed: the container ended by itself. That needs proof; see decide.
	Failed Verdict = "failed"
	// Interrupted: a step, the platform, or the machine of the container ended it.
	Interrupted Verdict = "interrupted"
	// Unknown: neither is proven. It counts as an interruption.
	Unknown Verdict = "unknown"
)

// worst orders verdicts: a job counts by the worst of its containers.
func worst(a, b Verdict) Verdict {
	order := []Verdict{"", Failed, Unknown, Interrupted}
	if slices.Index(order, b) > slices.Index(order, a) {
		return b
	}
	return a
}

// facts are what the witness observed of the end of a container. The verdict is a
// function of them alone.
type facts struct {
	exit *exitStatus // nil if no exit code is known
	// deleted is true if the pod was deleted before the container ended.
	deleted bool
	// disruption is why Kubernetes ended the pod, if it did.
	disruption string
	// podFailure is why Kubernetes failed the pod: an eviction, a lost node.
	podFailure string
	// diskLimit is what the kubelet says about the own disk limit that the pod exceeded;
	// empty if it did not.
	diskLimit string
	// replaced names the container that took its place in the same pod.
	replaced string
	// outputLost is true if the log no longer has the output of the start.
	outputLost bool
	// unobserved is why its end was not observed; empty if it was.
	unobserved string

	machine  string
	boot     bootState
	lastSeen time.Time // when its machine last reported it alive
	noticed  time.Time // when its end was first observed
	ended    time.Time // when it ended, as far as known
	steps    string    // in progress since it was last seen alive, and able to end it

	// killed is what the kubelet says about ending it; empty if it did not.
	killed string
	// killsRead is true if the kubelet's kills were read after the end.
	killsRead bool
	// follows is how another task of the job failed by itself, or that the job reached
	// its time limit, so that this container ended with the job; empty if neither
	// happened.
	follows string
	// jobFailed is true if the job failed or restarted as a whole since the start.
	jobFailed bool
	// peersPending is true if the end of another container of the job is not settled.
	peersPending bool
}

// bootState is what is known of the machine since a container was last seen alive.
type bootState string

const (
	bootSame     bootState = "same"     // it reported the same boot ID before and after the end
	bootOther    bootState = "other"    // it rebooted
	bootStopping bootState = "stopping" // it was shutting down
	bootPending  bootState = "pending"  // it has not reported since the end
	bootUnknown  bootState = "unknown"  // its boot ID was unknown before the end
)

// decision is a verdict with the evidence for it.
type decision struct {
	verdict  Verdict
	evidence []string
	// waits is true if an observation that is still to come can change an unknown
	// verdict.
	waits bool
}

// lastSeenWithin is how long before its end a container must have been seen alive:
// the API keeps the kubelet's kills for an hour.
const lastSeenWithin = 30 * time.Minute

// decide decides who ended a container. What proves an interruption is asked first;
// a container ended by itself only if every other explanation is excluded.
func decide(f facts) decision {
	if why := f.interruption(); why != "" {
		return decision{verdict: Interrupted, evidence: []string{why}}
	}
	doubts, waits := f.doubts()
	own, how := f.ownEnd()
	switch {
	case own && len(doubts) == 0:
		return decision{verdict: Failed, evidence: append([]string{how}, f.exclusions()...)}
	case own:
		return decision{verdict: Unknown, evidence: append([]string{how}, doubts...), waits: waits}
	case f.exit != nil && f.exit.killedFromOutside() && f.steps != "":
		return decision{verdict: Interrupted, evidence: append([]string{how}, doubts...)}
	case f.deleted:
		return decision{verdict: Unknown, evidence: []string{how}, waits: f.peersPending}
	default: // the verdict does not wait for the machine, which might be lost
		return decision{verdict: Unknown, evidence: append([]string{how, "no observation shows what ended it"}, doubts...), waits: f.unobserved == "" && !f.killsRead}
	}
}

// interruption is what proves that something else ended the container; empty if
// nothing does.
func (f facts) interruption() string {
	switch {
	case f.boot == bootOther:
		return fmt.Sprintf("machine %s rebooted", f.machine)
	case f.boot == bootStopping:
		return fmt.Sprintf("machine %s was shutting down", f.machine)
	case f.unobserved != "": // not even its job was read
		return ""
	case f.disruption != "":
		return "Kubernetes disrupted its pod: " + f.disruption
	case f.podFailure != "":
		return f.podFailure
	case f.deleted && f.follows == "" && !f.jobFailed:
		return "its pod was deleted before it ended"
	case f.killed != "" && !f.deleted && f.diskLimit == "":
		return "the kubelet ended it: " + f.killed
	case f.outputLost:
		return "its output was lost while it ran"
	}
	return ""
}

// ownEnd reports whether the container ended in a way that only it or its own job
// can choose, and says how it ended.
func (f facts) ownEnd() (own bool, how string) {
	switch {
	case f.deleted && f.follows != "":
		return true, f.follows
	case f.deleted:
		return false, "its pod was deleted when its job failed or restarted as a whole, and no task of the job is known to have failed by itself before"
	case f.unobserved != "":
		return false, f.unobserved
	case f.diskLimit != "":
		return true, "the kubelet evicted its pod for exceeding its own limit: " + f.diskLimit
	case f.exit == nil && f.replaced != "":
		return false, "container " + f.replaced + " took its place, and its exit code is unknown"
	case f.exit == nil:
		return false, "its exit code is unknown"
	default:
		return f.exit.own(), f.exit.String()
	}
}

// doubts are why an end cannot be called the container's own. waits is true if
// all of them can disappear with observations that are still to come.
func (f facts) doubts() (doubts []string, waits bool) {
	waits = true
	add := func(temporary bool, format string, args ...any) {
		doubts, waits = append(doubts, fmt.Sprintf(format, args...)), waits && temporary
	}
	if f.steps != "" {
		add(false, "in progress since it was last seen alive at %s, and able to end it: %s", clock(f.lastSeen), f.steps)
	}
	if gap := f.noticed.Sub(f.lastSeen); gap > lastSeenWithin {
		add(false, "it was last seen alive %s before its end was noticed", gap.Round(time.Second))
	}
	switch f.boot {
	case bootSame, bootOther, bootStopping:
	case bootPending:
		add(true, "machine %s has not reported since the end", f.machine)
	default:
		add(false, "the boot ID of machine %s before the end is unknown", f.machine)
	}
	if !f.killsRead && !f.deleted && f.diskLimit == "" {
		add(true, "what the kubelet ended was not read")
	}
	if f.replaced != "" {
		add(false, "container %s took its place in the same pod", f.replaced)
	}
	return doubts, waits
}

// exclusions say what else could have ended the container, and did not.
func (f facts) exclusions() []string {
	list := []string{
		fmt.Sprintf("machine %s did not reboot", f.machine),
		fmt.Sprintf("no step that can end it was in progress since it was last seen alive at %s", clock(f.lastSeen)),
	}
	switch {
	case f.deleted:
		return list
	case f.diskLimit != "":
		return append([]string{"its specification has that limit, and Kubernetes reports no disruption of its pod"}, list...)
	}
	return append([]string{"its pod was neither deleted nor evicted"}, append(list, "the kubelet reports no kill")...)
}

func clock(t time.Time) string { return t.UTC().Format("15:04:05Z") }
