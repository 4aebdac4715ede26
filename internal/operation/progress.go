package operation

import (
	"time"

	"pai.dev/pai/internal/pai"
)

// WitnessStatus is what the witness of an operation observes at one moment.
type WitnessStatus struct {
	// Jobs were running when the operation started; each of them is running,
	// has finished, or was interrupted.
	Jobs        int                `json:"jobs"`
	Running     int                `json:"running"`
	Finished    int                `json:"finished"`
	Interrupted []pai.Interruption `json:"interrupted"`
	// OutageSince is when the API server stopped responding; zero while it responds.
	OutageSince   time.Time `json:"apiAway,omitzero"`
	APIReason     string    `json:"apiReason,omitempty"`
	OutageSeconds float64   `json:"outageSeconds"` // total, for new connections
	// Unobserved is why a cluster that can have jobs is not watched.
	Unobserved string `json:"blind,omitempty"`
}

// reportEvery is how often an observer gets the status of the witness.
const reportEvery = 250 * time.Millisecond

// reportWitness reports the status of the witness to an observer until the
// returned function is called, which reports once more.
func (w *watch) reportWitness(observe func(WitnessStatus)) (stop func()) {
	ended, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(reportEvery)
		defer ticker.Stop()
		for {
			observe(w.status())
			select {
			case <-ticker.C:
			case <-ended:
				observe(w.status())
				return
			}
		}
	}()
	return func() { close(ended); <-done }
}

func (w *watch) status() WitnessStatus {
	if w.witness == nil {
		return WitnessStatus{Interrupted: []pai.Interruption{}, Unobserved: w.unobserved}
	}
	s := w.witness.View()
	if s.Interrupted == nil {
		s.Interrupted = []pai.Interruption{}
	}
	return WitnessStatus{
		Jobs: s.Watched, Running: s.Running, Finished: s.Finished, Interrupted: s.Interrupted,
		OutageSince: s.API.Since, APIReason: s.API.Reason, OutageSeconds: s.Counted.New.OutageSeconds,
	}
}
