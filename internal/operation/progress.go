package operation

import (
	"time"

	"pai.dev/pai/internal/guard/witness"
	"pai.dev/pai/internal/pai"
)

// WitnessStatus is what the witness of an operation observes at one moment.
type WitnessStatus struct {
	// Jobs were running when the operation started; each of them is running,
	// has finished, or has one of the ends below.
	Jobs        int                `json:"jobs"`
	Running     int                `json:"running"`
	Finished    int                `json:"finished"`
	Failed      []pai.ContainerEnd `json:"failed"`
	Interrupted []pai.ContainerEnd `json:"interrupted"`
	Unknown     []pai.ContainerEnd `json:"unknown"`
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
	var v witness.View
	if w.witness != nil {
		v = w.witness.View()
	}
	list := func(ends []pai.ContainerEnd) []pai.ContainerEnd { return append([]pai.ContainerEnd{}, ends...) }
	return WitnessStatus{
		Jobs: v.Jobs.Before, Running: v.Jobs.After, Finished: v.Jobs.Finished,
		Failed: list(v.Jobs.Failed), Interrupted: list(v.Jobs.Interrupted), Unknown: list(v.Jobs.Unknown),
		OutageSince: v.API.Since, APIReason: v.API.Reason, OutageSeconds: v.Counted.New.OutageSeconds, Unobserved: w.unobserved,
	}
}
