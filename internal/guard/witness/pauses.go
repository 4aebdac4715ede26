package witness

import (
	"context"
	"fmt"
	"time"

	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/observe/running"
	"pai.dev/pai/internal/pai"
)

// notePauses notes how long the containers of a baseline usually pause their output.
// A pause that is unknown stays unknown.
func (w *Witness) notePauses(ctx context.Context, b *Baseline) {
	if w.o.Pauses == nil || len(b.Jobs) == 0 {
		return
	}
	reports := w.o.Pauses(ctx, newLedger(b.Jobs, nil, w.steps, b.Taken).runningMachines(), 0)
	for _, j := range b.Jobs {
		for _, c := range j.Containers {
			c.UsualPause = reports[c.Machine].Pauses[c.ID].Before
		}
	}
}

// readPauses reads the pauses in the output of the running containers since the
// start of the operation, by machine.
func (w *Witness) readPauses(ctx context.Context) map[string]running.PausesReport {
	names := w.ledger.runningMachines()
	if w.o.Pauses == nil || len(names) == 0 {
		return nil
	}
	return w.o.Pauses(ctx, names, time.Since(w.taken))
}

// pausesOf says which container of a job paused its output longest beyond its usual
// pause, and why the output of others was not observed. The caller holds l.mu.
func pausesOf(j WatchedJob, reports map[string]running.PausesReport, operation time.Duration) (longest *pai.OutputPause, unobserved string) {
	var most time.Duration
	missing, runs := 0, 0
	for _, c := range j.Containers {
		if c.Result != Running {
			continue
		}
		runs++
		p, why := pauseOf(c, reports)
		if why != "" {
			if missing++; missing == 1 {
				unobserved = why
			}
			continue
		}
		usual := c.UsualPause
		if usual == nil {
			usual = p.Before
		}
		beyond := p.After
		if usual != nil {
			beyond -= *usual
		}
		if longest != nil && beyond <= most {
			continue
		}
		most = beyond
		longest = &pai.OutputPause{Pod: c.Pod, Container: c.Name, LongestSeconds: seconds(p.After), ObservedSeconds: seconds(min(p.Observed, operation))}
		if usual != nil {
			s := seconds(*usual)
			longest.UsualSeconds = &s
		}
	}
	if missing > 0 {
		unobserved = fmt.Sprintf("%d of %d containers: %s", missing, runs, unobserved)
	}
	return longest, unobserved
}

// pauseOf returns the pauses of a container, or why they are unknown.
func pauseOf(c *WatchedContainer, reports map[string]running.PausesReport) (inspect.Pauses, string) {
	report, asked := reports[c.Machine]
	p, found := report.Pauses[c.ID]
	switch {
	case !asked:
		return p, "the logs on " + c.Machine + " were not read"
	case report.Err != nil:
		return p, report.Err.Error()
	case report.Problems[c.ID] != "":
		return p, report.Problems[c.ID]
	case !found:
		return p, c.Machine + " does not report the container"
	}
	return p, ""
}

// seconds are the seconds of a duration, to the millisecond.
func seconds(d time.Duration) float64 {
	return float64(d.Round(time.Millisecond).Milliseconds()) / 1000
}
