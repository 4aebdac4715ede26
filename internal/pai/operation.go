package pai

import "time"

// Outcome is how an operation or a step ended.
type Outcome string

const (
	OutcomeRunning   Outcome = "running"
	OutcomeSucceeded Outcome = "succeeded"
	OutcomeFailed    Outcome = "failed"
	OutcomeBlocked   Outcome = "blocked" // a step whose predecessor failed
	OutcomeStopped   Outcome = "stopped" // stopped at a safe point before its end
	OutcomeSkipped   Outcome = "skipped" // found done before it was tried
	OutcomeRefused   Outcome = "refused" // a step that the guard did not let go
	// OutcomeWaiting is a step whose machine has to be idle first, or one that
	// comes after such a step; and an operation that did all it could do
	// meanwhile.
	OutcomeWaiting Outcome = "waiting"
	// OutcomePending is a step of an operation under way that was not tried yet.
	OutcomePending Outcome = "pending"
)

// Operation is one record of the journal: who did what, from where to where,
// and what the witness saw. Its JSON form is what `upgrade history -o json`
// prints.
type Operation struct {
	ID      string    `json:"id"`
	Verb    Verb      `json:"verb"`
	By      string    `json:"by"` // user@host
	From    Pair      `json:"from"`
	To      Pair      `json:"to"`
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended,omitzero"`
	Outcome Outcome   `json:"outcome"`
	Error   string    `json:"error,omitempty"`

	// Revision is that of the configuration which was applied; zero where none was.
	Revision int `json:"revision,omitempty"`
	// Target is what an upgrade was asked for; zero for other operations.
	Target UpgradeTarget `json:"target,omitzero"`
	// Continues is the operation that left machines waiting which this one went
	// on with.
	Continues string `json:"continues,omitempty"`
	// Waiting are the machines that were left as they were, because jobs run there.
	Waiting []Waiting `json:"waiting,omitempty"`
	// Cordoned are the machines that this operation cordoned, written before
	// it did. The machine itself shows whether it still is.
	Cordoned []Cordon `json:"cordoned,omitempty"`
	// Evicted are the jobs that this operation ended with the operator's word,
	// written before it did.
	Evicted []Evicted `json:"evicted,omitempty"`

	// Refreshed says what a refresh did to each service that it touched.
	Refreshed []ServiceChanges `json:"refreshed,omitempty"`

	Report

	AcceptedRisks []string     `json:"acceptedRisks,omitempty"`
	SkippedChecks []string     `json:"skippedChecks,omitempty"`
	Steps         []StepRecord `json:"steps"`
}

// ServiceChanges are what was done to the objects of a service, and the
// workloads that were restarted because of it.
type ServiceChanges struct {
	Service   string         `json:"service"`
	Objects   []ObjectChange `json:"objects"`
	Restarted []string       `json:"restarted"`
}

// ObjectChange is one object and what was done to it: created, configured,
// deleted or kept.
type ObjectChange struct {
	Object string `json:"object"`
	Action string `json:"action"`
}

// StepRecord is what became of one step.
type StepRecord struct {
	ID      string  `json:"id"`
	Outcome Outcome `json:"outcome"`
	Seconds float64 `json:"seconds"`
	Error   string  `json:"error,omitempty"`
}

// Report is what the witness saw during an operation.
type Report struct {
	Jobs              JobsReport `json:"jobs"`
	API               APIReport  `json:"api"`
	SubmissionSeconds float64    `json:"submissionOutageSeconds"`
	// UnobservedSeconds is time within the operation in which nobody watched.
	UnobservedSeconds float64 `json:"unobservedSeconds"`
}

// JobsReport counts the jobs: Before = After + Finished + len of the distinct
// jobs in Interrupted, for the jobs that ran when the operation started.
type JobsReport struct {
	Before      int            `json:"before"`
	After       int            `json:"after"`
	Finished    int            `json:"finished"`
	Interrupted []Interruption `json:"interrupted"`
}

// Interruption is one container of a running job that ended with an error, was
// deleted or was replaced while the operation ran.
type Interruption struct {
	Job       string    `json:"job"` // user~name
	Pod       string    `json:"pod"`
	Container string    `json:"container"`
	Machine   string    `json:"machine"`
	Time      time.Time `json:"time"`
	Step      string    `json:"step"`
	Cause     string    `json:"cause"`
}

// APIReport says how long the API was away, seen by a client that makes a new
// connection for every request, and by one that keeps its connection.
type APIReport struct {
	Availability
	Kept Availability `json:"kept"`
}

// Availability sums up one kind of probe. A gap is the time from the last
// success before a failure to the next success.
type Availability struct {
	OutageSeconds     float64 `json:"outageSeconds"`
	LongestGapSeconds float64 `json:"longestGapSeconds"`
}
