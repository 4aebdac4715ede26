package witness

import (
	"maps"
	"slices"
	"time"

	"pai.dev/pai/internal/pai"
)

// View is what the witness sees at one moment, for showing.
type View struct {
	// Watched jobs are those that ran at the start; each is in one of the others.
	Watched     int
	Running     int
	Finished    int
	Interrupted []pai.Interruption
	// API and Submission are zero while they answer.
	API        Outage
	Submission Outage
	Counted    Counted
	// Unobserved says what could not be looked at the last time it was tried:
	// "API" or a machine's name, and why.
	Unobserved map[string]string
	// Notes are what could not be checked, for example a job's output.
	Notes []string
	// SaveError is why the baseline could not be kept the last time.
	SaveError error
}

// Outage says since when something does not answer.
type Outage struct {
	Since  time.Time
	Reason string
}

// For is how long it has not answered.
func (a Outage) For(now time.Time) time.Duration {
	if a.Since.IsZero() {
		return 0
	}
	return now.Sub(a.Since)
}

// View is what the witness sees now.
func (w *Witness) View() View {
	s := View{Interrupted: w.Interruptions(), Counted: w.countedUntil(time.Now())}
	s.API, s.Submission = w.pulse.away()
	s.Watched, s.Running, s.Finished = w.ledger.count()
	w.mu.Lock()
	defer w.mu.Unlock()
	s.Unobserved = maps.Clone(w.unwatched)
	s.Notes = slices.Clone(w.notes)
	s.SaveError = w.saveErr
	return s
}

// count counts the jobs under watch by their fate so far.
func (l *ledger) count() (watched, alive, finished int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, j := range l.jobs {
		has := func(f WatchResult) bool {
			return slices.ContainsFunc(j.Containers, func(c *WatchedContainer) bool { return c.Result == f })
		}
		switch {
		case has(Interrupted):
		case has(Running):
			alive++
		default:
			finished++
		}
	}
	return len(l.jobs), alive, finished
}
