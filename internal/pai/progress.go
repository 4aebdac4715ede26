package pai

import (
	"cmp"
	"slices"
	"time"
)

// The progress of the operation that runs is published in a ConfigMap in SystemNamespace.
// It has what the report has, and is written while the API is available. After the
// operation it stays, with the outcome.
const (
	ProgressName = "operation-progress"
	// ProgressKey is the key of the progress, a PublishedProgress in JSON.
	ProgressKey = "progress.json"
	// maxProgressSteps and maxProgressWaiting bound the lists of a published progress.
	maxProgressSteps   = 1000
	maxProgressWaiting = 300
)

// PublishedProgress is what users can read about an operation that runs.
type PublishedProgress struct {
	ID      string    `json:"id"`
	Verb    Verb      `json:"verb"`
	From    Pair      `json:"from"`
	To      Pair      `json:"to"`
	Started time.Time `json:"started"`
	// Updated is when this was written. Nothing is known about what happened later.
	Updated time.Time `json:"updated"`
	Outcome Outcome   `json:"outcome"`
	// Total and Done count all steps, Steps has those that are shown.
	Total int            `json:"total"`
	Done  int            `json:"done"`
	Steps []ProgressStep `json:"steps"`
	// Waiting are the machines that are not changed because jobs run there.
	Waiting []Waiting    `json:"waiting"`
	Jobs    ProgressJobs `json:"jobs"`
	// OutageSince is when the API stopped responding to the witness; OutageSeconds is the
	// duration of all outages so far.
	OutageSince   time.Time `json:"outageSince,omitzero"`
	OutageSeconds float64   `json:"outageSeconds"`
}

// ProgressStep is one step of an operation that runs.
type ProgressStep struct {
	ID      string  `json:"id"`
	Outcome Outcome `json:"outcome"`
	Seconds float64 `json:"seconds,omitempty"`
}

// ProgressJobs counts the jobs that ran when the operation started.
type ProgressJobs struct {
	Before      int `json:"before"`
	Running     int `json:"running"`
	Finished    int `json:"finished"`
	Failed      int `json:"failed"`
	Interrupted int `json:"interrupted"`
	Unknown     int `json:"unknown"`
}

// Progress returns what users can read about an operation that runs. Steps in progress and
// those that failed come before those that are left, which come before those that are done.
func (o Operation) Progress() PublishedProgress {
	p := PublishedProgress{ID: o.ID, Verb: o.Verb, From: o.From, To: o.To, Started: o.Started, Outcome: o.Outcome,
		Total: len(o.Steps), Steps: []ProgressStep{}, Waiting: append([]Waiting{}, o.Waiting[:min(len(o.Waiting), maxProgressWaiting)]...)}
	for _, s := range o.Steps {
		if s.Outcome == OutcomeSucceeded || s.Outcome == OutcomeSkipped {
			p.Done++
		}
		p.Steps = append(p.Steps, ProgressStep{s.ID, s.Outcome, s.Seconds})
	}
	if len(p.Steps) > maxProgressSteps {
		slices.SortStableFunc(p.Steps, func(a, b ProgressStep) int { return cmp.Compare(urgency(a.Outcome), urgency(b.Outcome)) })
		p.Steps = p.Steps[:maxProgressSteps]
	}
	return p
}

func urgency(o Outcome) int {
	switch o {
	case OutcomeSucceeded, OutcomeSkipped:
		return 2
	case OutcomePending:
		return 1
	default:
		return 0
	}
}
