package inspect

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Pauses are the pauses in the output of a running container, as far as its log was
// read. They are durations, so the clock of the machine need not be right.
type Pauses struct {
	// Before is the longest pause between two lines within PausesBefore before the
	// moment that the request names; nil if fewer than two such lines were read.
	Before *time.Duration `json:"before,omitempty"`
	// After is the longest pause that lasted at that moment or began later, also one
	// that still lasts.
	After time.Duration `json:"after"`
	// Observed is how long ago the first line was written that was read.
	Observed time.Duration `json:"observed"`
}

// PausesBefore is how long before the moment of a request pauses are considered.
const PausesBefore = time.Hour

// pauses reports the pauses in the output of the running containers of jobs.
func (i *inspection) pauses(ctx context.Context) error {
	if err := i.containers(ctx); err != nil {
		return err
	}
	var jobs []Container
	for _, c := range i.report.Activity.Containers {
		if c.Namespace != "" && c.OfJob() {
			jobs = append(jobs, c)
		}
	}
	i.report.Pauses = map[string]Pauses{}
	for _, c := range jobs {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("read the logs of containers: %w", context.Cause(ctx))
		}
		p, err := i.pausesOf(c, min(maxLog, maxLogs/int64(len(jobs))))
		if err != nil {
			i.problem(err, string(PausesOf), c.ID)
			continue
		}
		i.report.Pauses[c.ID] = p
	}
	return nil
}

// pausesOf reads at most limit bytes of the log of a container.
func (i *inspection) pausesOf(c Container, limit int64) (Pauses, error) {
	var m pauseMeter
	reset := func() { m = pauseMeter{moment: i.now().Add(-i.request.Age)} }
	if err := i.eachLine(c, limit, reset, func(at time.Time) { m.add(at) }); err != nil {
		return Pauses{}, err
	}
	return m.until(i.now())
}

// pauseMeter measures the pauses between lines before and after a moment.
type pauseMeter struct {
	moment      time.Time
	first, last time.Time
	pauses      Pauses
}

// add adds a line. The lines of standard output and standard error can overtake
// each other.
func (m *pauseMeter) add(at time.Time) {
	if m.first.IsZero() {
		m.first, m.last = at, at
		return
	}
	pause := at.Sub(m.last)
	switch {
	case pause < 0:
		return
	case at.After(m.moment):
		m.pauses.After = max(m.pauses.After, pause)
	case m.last.After(m.moment.Add(-PausesBefore)):
		if m.pauses.Before == nil || pause > *m.pauses.Before {
			m.pauses.Before = &pause
		}
	}
	m.last = at
}

// until ends the pause that still lasts.
func (m *pauseMeter) until(now time.Time) (Pauses, error) {
	if m.first.IsZero() {
		return Pauses{}, errors.New("its log has no line")
	}
	m.add(now)
	m.pauses.Observed = now.Sub(m.first)
	return m.pauses, nil
}
