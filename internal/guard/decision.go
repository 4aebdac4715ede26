package guard

import (
	"fmt"
	"slices"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// Verdict is the answer of the guard for a step.
type Verdict string

const (
	// Go: the step affects no running job.
	Go Verdict = "go"
	// Wait: the step can start when the jobs that it can affect have ended.
	Wait Verdict = "wait"
	// Refuse: the step would interrupt jobs, or its effect is unknown.
	Refuse Verdict = "refuse"
)

// Decision is the answer of the guard with its reasons.
type Decision struct {
	Verdict Verdict `json:"verdict"`
	// Reason says why. Next is a hint for the operator, empty if the verdict is Go.
	Reason string `json:"reason"`
	Next   string `json:"next,omitempty"`
	// Jobs are the running jobs that the step can affect.
	Jobs []pai.JobRef `json:"jobs,omitempty"`
	// NeedsCordon is set if the step can start only because no job runs on its
	// machine. Cordon the machine first, then ask the guard again.
	NeedsCordon bool `json:"holdOff,omitempty"`
	// NeedsEviction is set if the jobs of the machine have to be evicted before
	// the step, a risk that the operator accepted.
	NeedsEviction bool `json:"evict,omitempty"`
	// EndsJobs is set if the step itself ends the jobs of the machine, a risk that
	// the operator accepted.
	EndsJobs bool `json:"ends,omitempty"`
	// Transient is set if the reason might disappear by itself within seconds.
	Transient bool `json:"-"`
}

// Denial returns nil if the verdict is Go. Otherwise it returns the reason, the
// jobs, and the hint; its code is CodeRefused or CodeWaiting. It does not name
// the step.
func (d Decision) Denial() error {
	if d.Verdict == Go {
		return nil
	}
	return d.denial("")
}

// Err is Denial with the name of the step in front.
func (d Decision) Err(step plan.Step) error {
	switch d.Verdict {
	case Go:
		return nil
	case Wait:
		return d.denial(fmt.Sprintf("step %s must wait: ", step.ID))
	default:
		return d.denial(fmt.Sprintf("step %s refused: ", step.ID))
	}
}

func (d Decision) denial(prefix string) *pai.Error {
	code := pai.CodeRefused
	if d.Verdict == Wait {
		code = pai.CodeWaiting
	}
	message := prefix + d.Reason
	if len(d.Jobs) > 0 {
		message += "; jobs it can affect: " + pai.JobRefs(d.Jobs).String()
	}
	return &pai.Error{Code: code, Message: message, Next: d.Next}
}

func proceed(format string, args ...any) Decision {
	return Decision{Verdict: Go, Reason: fmt.Sprintf(format, args...)}
}

// refuse names the risk that the operator can accept instead, and the jobs.
func refuse(risk string, jobs []pai.JobRef, format string, args ...any) Decision {
	return Decision{Verdict: Refuse, Jobs: jobs, Next: hint(risk, jobs), Reason: fmt.Sprintf(format, args...)}
}

// accept turns another verdict into Go if the operator accepted its risk.
func (d Decision) accept(accepted []string, risk string) Decision {
	if d.Verdict != Go && slices.Contains(accepted, risk) {
		d.Verdict, d.Next = Go, ""
		d.Reason = fmt.Sprintf("accepted with --accept-risk=%s, although %s", risk, d.Reason)
	}
	return d
}

// acceptInterruption is accept for interrupted jobs, which the operator can
// accept for all jobs or for each of the affected ones by name.
func (d Decision) acceptInterruption(accepted []string) Decision {
	if d = d.accept(accepted, AcceptInterrupt); d.Verdict == Go || !AcceptsInterruptions(accepted, d.Jobs) {
		return d
	}
	d.Verdict, d.Next = Go, ""
	d.Reason = fmt.Sprintf("accepted for each job with --accept-risk=%s, although %s", AcceptInterruptJob("USER~NAME"), d.Reason)
	return d
}

// hint says what the operator can do about jobs; without jobs, about facts that
// were not observed.
func hint(risk string, jobs []pai.JobRef) string {
	effect, until := "interrupted jobs", "these jobs to end"
	if risk == AcceptStrand {
		effect, until = "jobs that do not start", "these jobs to start"
	}
	if len(jobs) == 0 {
		return fmt.Sprintf("fix what prevents the observation and run the command again, or accept %s with --accept-risk=%s", effect, risk)
	}
	return fmt.Sprintf("wait for %s and run the command again: %s\nto stop one of them, run: paictl job stop JOB\nto accept %s, use --accept-risk=%s",
		until, pai.JobRefs(jobs).String(), effect, risk)
}
