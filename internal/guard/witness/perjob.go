package witness

import (
	"slices"
	"strings"
	"time"

	"pai.dev/pai/internal/observe/running"
	"pai.dev/pai/internal/pai"
)

// stepsUntil returns the steps since the start of the operation that can end a
// container of a job, oldest first. The caller holds l.mu.
func (l *ledger) stepsUntil(j WatchedJob, now time.Time) []string {
	steps := slices.Clone(j.Steps) // from an earlier witness
	if names := l.steps.reaching(l.start, now, j.machines()); names != "" {
		for name := range strings.SplitSeq(names, stepSeparator) {
			if !slices.Contains(steps, name) {
				steps = append(steps, name)
			}
		}
	}
	return steps
}

// perJob returns a line for each watched job. unobserved is the time without
// observation, in seconds; pauses are since the start of the operation.
func (l *ledger) perJob(unobserved float64, pauses map[string]running.PausesReport, start, now time.Time) []pai.JobLine {
	l.mu.Lock()
	defer l.mu.Unlock()
	var lines []pai.JobLine
	for _, j := range l.jobs {
		line := pai.JobLine{Job: j.String(), VirtualCluster: j.VirtualCluster, ContainersBefore: len(j.Containers),
			Machines: j.machines(), Steps: append([]string{}, l.stepsUntil(j, now)...), UnobservedSeconds: unobserved}
		slices.Sort(line.Machines)
		line.Machines = slices.Compact(line.Machines)
		for _, c := range j.Containers {
			if c.Result == Running {
				line.ContainersAfter++
			}
		}
		line.Output, line.OutputUnobserved = pausesOf(j, pauses, now.Sub(start))
		lines = append(lines, line)
	}
	return lines
}
