package witness

import (
	"maps"
	"slices"
	"time"

	"pai.dev/pai/internal/pai"
)

// View is what the witness observes at one moment.
type View struct {
	// Jobs counts the jobs that ran at the start; After are those that run now.
	Jobs pai.JobsReport
	// API and Submission are the current outages; zero if there is none.
	API        Outage
	Submission Outage
	Counted    Counted
	// Unobserved is why the last observation failed, by "API" or machine name.
	Unobserved map[string]string
	// Notes are what could not be verified, for example the output of a job.
	Notes []string
	// SaveError is why the baseline was not stored the last time.
	SaveError error
}

// Outage is a period without successful samples that has not ended.
type Outage struct {
	Since  time.Time
	Reason string
}

// For returns the duration of the outage; zero if there is none.
func (o Outage) For(now time.Time) time.Duration {
	if o.Since.IsZero() {
		return 0
	}
	return now.Sub(o.Since)
}

// View returns what the witness observes now.
func (w *Witness) View() View {
	v := View{
		Jobs: w.ledger.report(), API: w.probes.fresh.current(), Submission: w.probes.submit.current(), Counted: w.countedUntil(time.Now()),
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	v.Unobserved, v.Notes, v.SaveError = maps.Clone(w.failures), slices.Clone(w.notes), w.saveErr
	return v
}
