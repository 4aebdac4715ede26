package witness

import (
	"fmt"
	"slices"

	"pai.dev/pai/internal/pai"
)

// Report counts the jobs of a baseline and lists the ends in it.
func (b Baseline) Report() pai.JobsReport {
	m := newMachines(b.Boots)
	return count(newLedger(b.clone().Jobs, nil, &timeline{}, b.LastWatched).jobs, &m)
}

// count counts jobs and lists the ends of their containers by verdict and time.
func count(jobs []WatchedJob, m *machines) pai.JobsReport {
	r := pai.JobsReport{Before: len(jobs)}
	lists := map[Verdict]*[]pai.ContainerEnd{Failed: &r.Failed, Interrupted: &r.Interrupted, Unknown: &r.Unknown}
	for _, j := range jobs {
		var job Verdict
		for _, e := range j.ends(m) {
			job = worst(job, e.verdict)
			*lists[e.verdict] = append(*lists[e.verdict], e.ContainerEnd)
		}
		running := slices.ContainsFunc(j.Containers, func(c *WatchedContainer) bool { return c.Result == Running })
		switch {
		case job != "":
		case running:
			r.After++
		default:
			r.Finished++
		}
	}
	for _, list := range lists {
		slices.SortStableFunc(*list, func(a, b pai.ContainerEnd) int { return a.Time.Compare(b.Time) })
	}
	return r
}

// jobEnd is the end of a container with its present verdict.
type jobEnd struct {
	pai.ContainerEnd
	verdict Verdict
}

// ends returns the ends of the containers of a job. It adds what was observed only
// after an end got its verdict: that its machine had failed, or that another
// container of the job ended before, not by itself, and might be the cause.
func (j WatchedJob) ends(m *machines) []jobEnd {
	var ends []jobEnd
	var first *jobEnd // that counts as an interruption
	for _, c := range j.Containers {
		if c.Result != Ended || c.End == nil {
			continue
		}
		e := jobEnd{*c.End, c.Verdict}
		if e.verdict != Failed {
			var failed bool
			if e.ContainerEnd, failed = m.explain(*c.End); failed {
				e.verdict = Interrupted
			}
			if first == nil || e.Time.Before(first.Time) {
				first = &e
			}
		}
		ends = append(ends, e)
	}
	for i := range ends {
		if e := &ends[i]; e.verdict == Failed && first != nil && !first.Time.After(e.Time.Add(secondsOnly)) {
			e.verdict = Unknown
			how := map[Verdict]string{Interrupted: "was interrupted before", Unknown: "ended before, for an unknown reason,"}[first.verdict]
			e.Evidence = append(slices.Clone(e.Evidence), fmt.Sprintf("container %s of pod %s of the same job %s and might be the cause", first.Container, first.Pod, how))
		}
	}
	return ends
}
