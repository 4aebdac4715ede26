package guard

import (
	"fmt"
	"slices"
	"strings"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// Verdict is the guard's answer to a step.
type Verdict string

const (
	// Go: no running job can be touched, or the step is known to leave them alone.
	Go Verdict = "go"
	// Wait: the step may go when the jobs that it could touch have ended.
	Wait Verdict = "wait"
	// Refuse: it is not known what the step could touch, or it would interrupt.
	Refuse Verdict = "refuse"
)

// Decision is the guard's answer with its reasons.
type Decision struct {
	Verdict Verdict `json:"verdict"`
	// Reason says why; Next what the user can do, empty when the verdict is Go.
	Reason string `json:"reason"`
	Next   string `json:"next,omitempty"`
	// Jobs are the running jobs that the step could touch.
	Jobs []pai.JobRef `json:"jobs,omitempty"`
	// NeedsCordon is set where a step may go only because no job runs on its
	// machine: new ones have to be kept off first, and the guard asked again.
	NeedsCordon bool `json:"holdOff,omitempty"`
	// NeedsEviction is set where a step may go once the machine's jobs have been ended,
	// which the operator accepted.
	NeedsEviction bool `json:"evict,omitempty"`
	// EndsJobs is set where the step itself ends the machine's jobs, which the
	// operator accepted.
	EndsJobs bool `json:"ends,omitempty"`
	// Transient is set where what stands in the way may pass by itself in seconds.
	Transient bool `json:"-"`
}

// Names of risks that can be accepted. RiskEvictJobs takes a machine.
const (
	AcceptInterrupt = "interrupt-jobs"
	// AcceptLoss: what was written since a snapshot of etcd is lost.
	AcceptLoss = "lose-writes-since-snapshot"
	// AcceptStrand: jobs that wait in a queue will not start.
	AcceptStrand = "strand-jobs"
	acceptEvict  = "evict-jobs:"
)

// AcceptEvict is the name of the risk that the jobs of a machine are ended.
func AcceptEvict(machine string) string { return acceptEvict + machine }

// CheckAccepted reports a name that is no risk.
func CheckAccepted(names []string) error {
	for _, n := range names {
		machine, evict := strings.CutPrefix(n, acceptEvict)
		if n == AcceptInterrupt || n == AcceptLoss || n == AcceptStrand || (evict && machine != "") {
			continue
		}
		return pai.Errorf(pai.CodeUsage, "use --accept-risk="+AcceptInterrupt+", --accept-risk="+AcceptStrand+" or --accept-risk="+AcceptEvict("MACHINE"), "%q is not the name of a risk", n)
	}
	return nil
}

// Decide answers for one step. It is a pure function: risk is what Risk says
// of the step, accepted the names of the risks that the operator took.
func Decide(step plan.Step, risk pai.Risk, f Facts, accepted []string) Decision {
	switch risk {
	case pai.RiskNone:
		return Decision{Verdict: Go, Reason: "no running job can notice it"}
	case pai.RiskAPI:
		return Decision{Verdict: Go, Reason: "only the Kubernetes API may pause; running containers do not notice"}
	case pai.RiskNode:
		return decideNode(step, f, accepted)
	case pai.RiskEviction:
		return decideEviction(step, f, accepted)
	default:
		return decideDataPath(step, risk, f, accepted)
	}
}

// decideNode: an idle machine may be changed; a busy one only in place, where
// every rule of the gate is met. An idle machine that does not meet the gate
// must stay idle meanwhile.
func decideNode(step plan.Step, f Facts, accepted []string) Decision {
	jobs, idle, why := onMachine(step.Target, f)
	if idle {
		rules, known := gate(step)
		return Decision{Verdict: Go, Reason: fmt.Sprintf("no job runs on %s", step.Target), NeedsCordon: !known || len(objections(rules, f)) > 0}
	}
	if step.Kind == plan.KindRole && (step.Role == plan.RoleKubeProxy || step.Role == plan.RoleNetwork) {
		return Decision{Verdict: Go, Jobs: jobs, Reason: "it changes routes and service addresses, and leaves the running pods' own network as it is"}
	}
	d := Decision{Verdict: Wait, Jobs: jobs, Next: nextFor(AcceptEvict(step.Target), jobs)}
	rules, known := gate(step)
	switch {
	case why != "":
		d.Verdict, d.Reason = Refuse, fmt.Sprintf("which jobs run on %s is not known: %s", step.Target, why)
	case !known:
		d.Reason = fmt.Sprintf("%s is not known to leave running containers alone", step.ID)
	default:
		d.weigh(step, objections(rules, f))
	}
	if d.Verdict != Go && why == "" && slices.Contains(accepted, AcceptEvict(step.Target)) {
		d.NeedsEviction = true
	}
	return d.accept(accepted, AcceptEvict(step.Target))
}

// gate are the rules for doing a step to a busy machine.
func gate(step plan.Step) ([]rule, bool) {
	switch {
	case step.Kind == plan.KindKubelet:
		return swapRules(), true
	case step.Kind == plan.KindRole && step.Role == plan.RoleRuntime:
		return runtimeRules(), true
	default:
		return nil, false
	}
}

// weigh turns the gate's objections into a verdict: what is known to be unsafe
// waits for an idle machine, what could not be seen is refused.
func (d *Decision) weigh(step plan.Step, no []objection) {
	if len(no) == 0 {
		d.Verdict, d.Next = Go, ""
		d.Reason = fmt.Sprintf("every condition for changing %s in place is met; its running containers are left alone", step.Target)
		return
	}
	var texts []string
	rules := map[string][]string{}
	d.Transient = !slices.ContainsFunc(no, func(o objection) bool { return o.rule != ruleDevices || o.unknown })
	for _, o := range no {
		text := o.text
		if o.unknown {
			d.Verdict = Refuse
			text = "could not be observed: " + text
		}
		if rules[text] == nil {
			texts = append(texts, text)
		}
		rules[text] = append(rules[text], o.rule)
	}
	for i, text := range texts {
		texts[i] = fmt.Sprintf("%s (%s)", text, strings.Join(rules[text], ", "))
	}
	d.Reason = fmt.Sprintf("%s cannot be changed in place while jobs run there: %s", step.Target, strings.Join(texts, "; "))
}

func decideEviction(step plan.Step, f Facts, accepted []string) Decision {
	jobs, idle, why := onMachine(step.Target, f)
	if idle {
		return Decision{Verdict: Go, Reason: fmt.Sprintf("no job runs on %s", step.Target)}
	}
	d := Decision{Verdict: Refuse, Jobs: jobs, Next: nextFor(AcceptEvict(step.Target), jobs)}
	d.Reason = fmt.Sprintf("it would end the jobs that run on %s", step.Target)
	if why != "" {
		d.Reason = fmt.Sprintf("it would end every pod on %s, and which jobs run there is not known: %s", step.Target, why)
	}
	d = d.accept(accepted, AcceptEvict(step.Target))
	d.EndsJobs = d.Verdict == Go // it is not idle
	return d
}

func decideDataPath(step plan.Step, risk pai.Risk, f Facts, accepted []string) Decision {
	d := Decision{Verdict: Refuse, Next: nextFor(AcceptInterrupt, nil)}
	if !f.Jobs.known {
		d.Reason = fmt.Sprintf("running jobs read or write through %s, and which jobs run is not known: %s", step.Target, f.Jobs.why())
		return d.accept(accepted, AcceptInterrupt)
	}
	d.Jobs = refs(touched(step, risk, f.Jobs.value))
	if len(d.Jobs) == 0 {
		return Decision{Verdict: Go, Reason: "no job runs"}
	}
	d.Reason = fmt.Sprintf("running jobs read or write through %s", step.Target)
	d.Next = nextFor(AcceptInterrupt, d.Jobs)
	return d.accept(accepted, AcceptInterrupt)
}

// onMachine says which jobs run on a machine. The machine itself is the
// authority on whether any does: the API shows pods as running whose machine
// has just been started again. why says what could not be observed.
func onMachine(machine string, f Facts) (jobs []pai.JobRef, idle bool, why string) {
	if f.Jobs.known {
		jobs = refs(on(machine, f.Jobs.value))
	}
	if !f.Containers.known {
		return jobs, false, f.Containers.why()
	}
	living := 0
	for _, c := range f.Containers.value {
		if c.OfJob() {
			living++
		}
	}
	switch {
	case living == 0:
		return nil, true, ""
	case !f.Jobs.known:
		return nil, false, fmt.Sprintf("%d containers of jobs live there, and the API cannot say whose: %s", living, f.Jobs.why())
	case len(jobs) == 0:
		return nil, false, fmt.Sprintf("%d containers of jobs live there, and the API knows of none", living)
	default:
		return jobs, false, ""
	}
}

// accept turns a no into a go when the operator took its risk by name.
func (d Decision) accept(accepted []string, risk string) Decision {
	if d.Verdict != Go && slices.Contains(accepted, risk) {
		d.Verdict, d.Next = Go, ""
		d.Reason = fmt.Sprintf("accepted with --accept-risk=%s, although %s", risk, d.Reason)
	}
	return d
}

func nextFor(risk string, jobs []pai.JobRef) string {
	if len(jobs) == 0 {
		return "mend what could not be observed and run the command again, or accept that jobs are interrupted: --accept-risk=" + risk
	}
	return "wait until these jobs have ended, or stop them with paictl job stop, and run the command again: " + joinRefs(jobs) +
		"\nor accept that they are ended: --accept-risk=" + risk
}

func joinRefs(jobs []pai.JobRef) string {
	names := make([]string, len(jobs))
	for i, j := range jobs {
		names[i] = j.String()
	}
	return strings.Join(names, ", ")
}
