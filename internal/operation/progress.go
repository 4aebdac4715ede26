package operation

import (
	"time"

	"pai.dev/pai/internal/pai"
)

// WitnessStatus is what the witness of an operation sees at one moment, for those
// who look on.
type WitnessStatus struct {
	// Jobs ran when the operation started; each of them runs, has finished or
	// was interrupted.
	Jobs        int                `json:"jobs"`
	Running     int                `json:"running"`
	Finished    int                `json:"finished"`
	Interrupted []pai.Interruption `json:"interrupted"`
	// APIAway is since when the API does not answer; zero while it does.
	APIAway       time.Time `json:"apiAway,omitzero"`
	APIReason     string    `json:"apiReason,omitempty"`
	OutageSeconds float64   `json:"outageSeconds"` // in all, for new connections
	// Blind is why nobody watches a cluster that may have jobs.
	Blind string `json:"blind,omitempty"`
}

// tellEvery is how often onlookers learn what the witness sees.
const tellEvery = 250 * time.Millisecond

// tell tells an observer what the witness sees until the function that it
// returns is called, which tells once more. Calls come one after the other.
func (w *watch) reportProgress(observer func(WitnessStatus)) (stop func()) {
	if observer == nil {
		return func() {}
	}
	ended, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(tellEvery)
		defer ticker.Stop()
		for {
			observer(w.now())
			select {
			case <-ticker.C:
			case <-ended:
				observer(w.now())
				return
			}
		}
	}()
	return func() { close(ended); <-done }
}

func (w *watch) now() WitnessStatus {
	if w.witness == nil {
		return WitnessStatus{Interrupted: []pai.Interruption{}, Blind: w.blind}
	}
	s := w.witness.View()
	if s.Interrupted == nil {
		s.Interrupted = []pai.Interruption{}
	}
	return WitnessStatus{
		Jobs: s.Watched, Running: s.Running, Finished: s.Finished, Interrupted: s.Interrupted,
		APIAway: s.API.Since, APIReason: s.API.Reason, OutageSeconds: s.Counted.New.OutageSeconds,
	}
}
