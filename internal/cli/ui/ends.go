package ui

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"pai.dev/pai/internal/operation"
	"pai.dev/pai/internal/pai"
)

// end is the end of a container as one line.
type end struct {
	pai.ContainerEnd
	text string
}

// endsOf returns the lines about ends, by time.
func endsOf(failed, interrupted, unknown []pai.ContainerEnd) []end {
	var ends []end
	for _, list := range []struct {
		title string
		ends  []pai.ContainerEnd
	}{{"failed", failed}, {"INTERRUPTED", interrupted}, {"UNKNOWN END", unknown}} {
		for _, e := range list.ends {
			ends = append(ends, end{e, fmt.Sprintf("%-13s job %s, container %s of pod %s on %s, at %s, during %s: %s",
				list.title, e.Job, e.Container, e.Pod, e.Machine, e.Time.Local().Format(time.TimeOnly), cmp.Or(e.Step, "no step"), e.Cause)})
		}
	}
	slices.SortStableFunc(ends, func(a, b end) int { return a.Time.Compare(b.Time) })
	return ends
}

// Ends returns a line for each container in a report that ended without success.
func Ends(r pai.JobsReport) (lines []string) {
	for _, e := range endsOf(r.Failed, r.Interrupted, r.Unknown) {
		lines = append(lines, e.text)
	}
	return lines
}

// endsShown are the lines about ends that were written. A later observation can
// change the verdict of an end, which is then written again.
type endsShown map[string]bool

// add returns the lines that are new.
func (s endsShown) add(w operation.WitnessStatus) (lines []string) {
	for _, e := range endsOf(w.Failed, w.Interrupted, w.Unknown) {
		if !s[e.text] {
			s[e.text] = true
			lines = append(lines, e.text)
		}
	}
	return lines
}
