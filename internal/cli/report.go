package cli

import (
	"fmt"
	"io"
	"strings"
	"time"

	"pai.dev/pai/internal/pai"
)

// writeReport prints what an operation did and what the witness saw.
func writeReport(out io.Writer, op pai.Operation) error {
	p := &printer{out: out}
	p.linef("%s %s in %s (operation %s)", op.Verb, op.Outcome, op.Ended.Sub(op.Started).Round(100*time.Millisecond), op.ID)
	if op.From.Kubernetes != op.To.Kubernetes && op.From.Kubernetes != "" {
		p.linef("  Kubernetes    %s → %s", op.From.Kubernetes, op.To.Kubernetes)
	}
	if op.From.Services != op.To.Services && op.From.Services != "" {
		p.linef("  services      %s → %s", op.From.Services, op.To.Services)
	}
	if op.Revision > 0 {
		p.linef("  configuration revision %d", op.Revision)
	}
	p.linef("  steps         %s", countSteps(op.Steps))
	if op.Verb == pai.VerbRefresh {
		writeRefreshed(p, op.Refreshed)
	}
	for _, w := range op.Waiting {
		p.linef("  waiting       %s, until its jobs have ended: %s", w.Machine, jobNames(w.Jobs))
	}
	p.linef("  jobs          %d ran before = %d run after + %d finished + %d interrupted",
		op.Jobs.Before, op.Jobs.After, op.Jobs.Finished, op.Jobs.Before-op.Jobs.After-op.Jobs.Finished)
	p.linef("  API away      %.1f s for new connections (longest gap %.1f s), %.1f s for kept ones (longest gap %.1f s)",
		op.API.OutageSeconds, op.API.LongestGapSeconds, op.API.Kept.OutageSeconds, op.API.Kept.LongestGapSeconds)
	if op.SubmissionSeconds > 0 {
		p.linef("  no submission %.1f s", op.SubmissionSeconds)
	}
	if op.UnobservedSeconds > 0 {
		p.linef("  nobody watched for %.1f s", op.UnobservedSeconds)
	}
	if len(op.Jobs.Interrupted) == 0 {
		p.linef("  interrupted   none")
	}
	for _, i := range op.Jobs.Interrupted {
		p.linef("  %s", interruptedLine(i))
	}
	return p.err
}

// writeRefreshed prints which objects changed, and what was restarted for it.
func writeRefreshed(p *printer, services []pai.ServiceChanges) {
	var restarted []string
	for _, s := range services {
		for _, o := range s.Objects {
			p.linef("  %-13s %s", o.Action, o.Object)
		}
		restarted = append(restarted, s.Restarted...)
	}
	p.linef("  restarted     %s", listed(restarted))
}

func countSteps(steps []pai.StepRecord) string {
	count := map[pai.Outcome]int{}
	for _, s := range steps {
		count[s.Outcome]++
	}
	text := fmt.Sprintf("%d done", count[pai.OutcomeSucceeded])
	for _, o := range []pai.Outcome{pai.OutcomeSkipped, pai.OutcomeFailed, pai.OutcomeRefused, pai.OutcomeBlocked, pai.OutcomeWaiting, pai.OutcomeStopped} {
		if count[o] > 0 {
			text += fmt.Sprintf(", %d %s", count[o], o)
		}
	}
	return text
}

func jobNames(jobs []pai.JobRef) string {
	names := make([]string, len(jobs))
	for i, j := range jobs {
		names[i] = j.String()
	}
	return strings.Join(names, ", ")
}

// printer keeps the first error of a series of writes.
type printer struct {
	out io.Writer
	err error
}

func (p *printer) linef(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.out, format+"\n", args...)
	}
}
