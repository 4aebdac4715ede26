package ui

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"pai.dev/pai/internal/pai"
)

// report writes what an operation did and what the witness observed.
func report(p *Page, op pai.Operation) {
	p.Linef("%s %s in %s (operation %s)", op.Verb, op.Outcome, op.Ended.Sub(op.Started).Round(100*time.Millisecond), op.ID)
	if op.From.Kubernetes != op.To.Kubernetes && op.From.Kubernetes != "" {
		p.Linef("  Kubernetes\t%s → %s", op.From.Kubernetes, op.To.Kubernetes)
	}
	if op.From.Services != op.To.Services && op.From.Services != "" {
		p.Linef("  services\t%s → %s", op.From.Services, op.To.Services)
	}
	if op.Revision > 0 {
		p.Linef("  configuration\trevision %d", op.Revision)
	}
	p.Linef("  steps\t%s", countSteps(op.Steps))
	if op.Verb == pai.VerbRefresh {
		reportRefreshed(p, op.Refreshed)
	}
	for _, w := range op.Waiting {
		p.Linef("  waiting\t%s, until its jobs end: %s", w.Machine, pai.JobRefs(w.Jobs))
	}
	if op.Left != "" {
		p.Linef("  left\t%s", op.Left)
	}
	reportRestored(p, op)
	failed, interrupted, unknown := op.Jobs.Ended()
	p.Linef("  jobs\t%d running before = %d running after + %d finished + %d failed + %d interrupted + %d unknown",
		op.Jobs.Before, op.Jobs.After, op.Jobs.Finished, failed, interrupted, unknown)
	jobLines(p, op.PerJob)
	p.Linef("  API outage\t%.1f s for new connections (longest gap %.1f s), %.1f s for kept connections (longest gap %.1f s)",
		op.API.OutageSeconds, op.API.LongestGapSeconds, op.API.Kept.OutageSeconds, op.API.Kept.LongestGapSeconds)
	reportGaps(p, op)
	if op.UnobservedSeconds > 0 {
		p.Linef("  unobserved\t%.1f s", op.UnobservedSeconds)
	}
	if len(op.Jobs.Interruptions()) == 0 {
		p.Linef("  interrupted\tnone")
	}
	for _, e := range endsOf(op.Jobs.Failed, op.Jobs.Interrupted, op.Jobs.Unknown) {
		p.Linef("  %s", e.text)
		for _, line := range e.Evidence {
			p.Linef("    %s", line)
		}
	}
}

// reportGaps writes how long users waited, beside what the plan said.
func reportGaps(p *Page, op pai.Operation) {
	expected, known := pai.Gaps{}, op.ExpectedGaps != nil
	if known {
		expected = *op.ExpectedGaps
	}
	line := func(label, what string, seconds, expected float64) {
		switch {
		case seconds == 0 && expected == 0:
		case known:
			p.Linef("  %s\t%s%.1f s (expected: about %.0f s)", label, what, seconds, expected)
		default:
			p.Linef("  %s\t%s%.1f s", label, what, seconds)
		}
	}
	line("no submission", "", op.SubmissionSeconds, expected.SubmissionSeconds)
	line("no admission", "", op.AdmissionSeconds, expected.AdmissionSeconds)
	for _, machine := range slices.Sorted(maps.Keys(op.StartSeconds)) {
		line("no new containers", "on "+machine+", at most ", op.StartSeconds[machine], expected.StartSeconds[machine])
	}
}

// reportRefreshed writes which objects changed and which workloads restarted.
func reportRefreshed(p *Page, services []pai.ServiceChanges) {
	var restarted []string
	for _, s := range services {
		for _, o := range s.Objects {
			p.Linef("  %s\t%s", o.Action, o.Object)
		}
		restarted = append(restarted, s.Restarted...)
	}
	p.Linef("  restarted\t%s", List(restarted))
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
