package ui

import (
	"fmt"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/rest"
)

// jobLinesShown is how many jobs a report has lines for; the JSON form has all.
const jobLinesShown = 10

// jobLines writes a line for each job: its containers, its machines, the pauses in
// its output, and what could end it.
func jobLines(p *Page, lines []pai.JobLine) {
	for _, l := range lines[:min(len(lines), jobLinesShown)] {
		p.Linef("  job %s\t%s", l.Job, jobText(l))
	}
	if more := len(lines) - jobLinesShown; more > 0 {
		p.Linef("  and %d more jobs; for all, run: paictl upgrade history -o json", more)
	}
}

// jobText is the line of a job without its name.
func jobText(l pai.JobLine) string {
	return fmt.Sprintf("%d of %d containers still run, on %s; %s%s",
		l.ContainersAfter, l.ContainersBefore, List(l.Machines), pauseText(l), stepsText(l.Steps))
}

// JobOperations writes the operations on the cluster during which a job ran.
func JobOperations(p *Page, operations []rest.JobOperation) {
	for _, o := range operations {
		p.Linef("")
		p.Linef("%s %s at %s (operation %s)", o.Verb, o.Outcome, Time(o.Started), o.ID)
		p.Linef("  %s", jobText(o.JobLine))
		for _, e := range endsOf(o.Failed, o.Interrupted, o.Unknown) {
			p.Linef("  %s", e.text)
		}
	}
}

// pauseText says how long the output of a running job paused, and what was not
// observed.
func pauseText(l pai.JobLine) (text string) {
	if o := l.Output; o != nil {
		text = fmt.Sprintf("its output paused for up to %.1f s (before: %s); ", o.LongestSeconds, usual(o.UsualSeconds))
	}
	if l.OutputUnobserved != "" {
		text += "pauses of its output not observed in " + l.OutputUnobserved + "; "
	}
	return text
}

func stepsText(steps []string) string {
	if len(steps) == 0 {
		return "no step could end them"
	}
	return "steps that could end them: " + List(steps)
}

func usual(seconds *float64) string {
	if seconds == nil {
		return "unknown"
	}
	return fmt.Sprintf("%.1f s", *seconds)
}
