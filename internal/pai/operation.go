package pai

import (
	"cmp"
	"time"
)

// Outcome is how an operation or a step ended.
type Outcome string

const (
	OutcomeRunning   Outcome = "running"
	OutcomeSucceeded Outcome = "succeeded"
	OutcomeFailed    Outcome = "failed"
	OutcomeBlocked   Outcome = "blocked" // a step whose predecessor failed
	OutcomeStopped   Outcome = "stopped" // stopped at a safe point before its end
	OutcomeSkipped   Outcome = "skipped" // found done before it was tried
	OutcomeRefused   Outcome = "refused" // a step that the guard refused
	// OutcomeWaiting is a step that needs an idle machine, a step that waits for
	// such a step, or an operation in which all other steps are done.
	OutcomeWaiting Outcome = "waiting"
	// OutcomePending is a step of a running operation that was not tried yet.
	OutcomePending Outcome = "pending"
)

// Operation is one record of the journal: who did what, between which versions,
// and what the witness observed. `upgrade history -o json` prints its JSON form.
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

	// Revision is the applied revision of the configuration; zero for none.
	Revision int `json:"revision,omitempty"`
	// Target is the target of an upgrade, the part of a rollback, or the machine of an
	// operation on one machine; zero for other operations.
	Target UpgradeTarget `json:"target,omitzero"`
	// Continues is the operation whose waiting machines this one upgrades.
	Continues string `json:"continues,omitempty"`
	// Within is the upgrade that started this rollback by itself, when its last hop failed;
	// empty for a rollback that was asked for.
	Within string `json:"within,omitempty"`
	// Waiting are the machines that were not changed because jobs run there.
	Waiting []Waiting `json:"waiting,omitempty"`
	// Cordoned are the machines that this operation cordoned, written before the
	// cordon. The node shows whether it still is.
	Cordoned []Cordon `json:"cordoned,omitempty"`
	// Evicted are the jobs that this operation evicted with an accepted risk,
	// written before the eviction.
	Evicted []Evicted `json:"evicted,omitempty"`

	// ExpectedGaps are those that the plan of the first run named; nil if an older
	// paictl recorded the operation.
	ExpectedGaps *Gaps `json:"expectedGaps,omitempty"`
	// StartSeconds is for how long at most no container could start, by machine.
	StartSeconds map[string]float64 `json:"startSeconds,omitempty"`

	// Refreshed lists the changes of a refresh for each service.
	Refreshed []ServiceChanges `json:"refreshed,omitempty"`
	// Restored is what a rollback that restored etcd did to the records of jobs.
	Restored *Restore `json:"restored,omitempty"`

	// Left is what stays on a machine that was removed without being cleaned; empty if
	// nothing does.
	Left string `json:"left,omitempty"`

	Report

	AcceptedRisks []string     `json:"acceptedRisks,omitempty"`
	SkippedChecks []string     `json:"skippedChecks,omitempty"`
	Steps         []StepRecord `json:"steps"`
}

// Command continues an unfinished upgrade or rollback; empty for another operation. An
// upgrade continues after the rollback that was a part of it. A record of v0.9 has no
// target: then it is the release of the services, if they are known.
func (o Operation) Command() string {
	release := cmp.Or(o.Target.Release, Release(o.To.Services))
	var command string
	switch {
	case o.Verb == VerbRollback && o.Within != "":
		return "paictl upgrade resume" // a rollback might go behind an earlier hop
	case o.Verb == VerbRollback:
		command = "paictl upgrade rollback"
	case o.Verb == VerbUpgrade && release != "":
		command = "paictl upgrade apply --to " + string(release)
	default:
		return ""
	}
	if o.Target.Part != "" {
		command += " --" + o.Target.Part
	}
	return command
}

// ServiceChanges are the changed objects of a service, and the workloads that
// were restarted because of them.
type ServiceChanges struct {
	Service   string         `json:"service"`
	Objects   []ObjectChange `json:"objects"`
	Restarted []string       `json:"restarted"`
}

// ObjectChange is one object and its change: created, configured, deleted, or
// kept.
type ObjectChange struct {
	Object string `json:"object"`
	Action string `json:"action"`
}

// StepRecord is the result of one step.
type StepRecord struct {
	ID      string  `json:"id"`
	Outcome Outcome `json:"outcome"`
	Seconds float64 `json:"seconds"`
	Error   string  `json:"error,omitempty"`   // one line
	Details string  `json:"details,omitempty"` // lines that explain the error
	Next    string  `json:"next,omitempty"`    // what the operator can do about it
}
