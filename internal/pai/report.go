package pai

import (
	"encoding/json"
	"slices"
	"time"
)

// Report is what the witness observed during an operation.
type Report struct {
	Jobs              JobsReport `json:"jobs"`
	API               APIReport  `json:"api"`
	SubmissionSeconds float64    `json:"submissionOutageSeconds"`
	// AdmissionSeconds is the time without a controller that admits or starts jobs.
	AdmissionSeconds float64 `json:"admissionOutageSeconds"`
	// UnobservedSeconds is the time within the operation without observation.
	UnobservedSeconds float64 `json:"unobservedSeconds"`
	// PerJob has a line for each job that ran when the operation started.
	PerJob []JobLine `json:"perJob,omitempty"`
}

// JobLine is what the user of one job wants to know about an operation.
type JobLine struct {
	Job            string `json:"job"` // user~name
	VirtualCluster string `json:"virtualCluster,omitempty"`
	// ContainersBefore ran when the operation started, ContainersAfter still run.
	ContainersBefore int      `json:"containersBefore"`
	ContainersAfter  int      `json:"containersAfter"`
	Machines         []string `json:"machines"`
	// Steps are the steps that could end a container of the job.
	Steps             []string `json:"steps"`
	UnobservedSeconds float64  `json:"unobservedSeconds"`
	// Output is the longest pause in the output of a container; nil if none was
	// observed. OutputUnobserved is why that of some containers was not.
	Output           *OutputPause `json:"output,omitempty"`
	OutputUnobserved string       `json:"outputUnobserved,omitempty"`
}

// OutputPause is the longest pause in the output of a container during an
// operation. Of a job, it is the one that exceeds the usual pause most.
type OutputPause struct {
	Pod            string  `json:"pod"`
	Container      string  `json:"container"`
	LongestSeconds float64 `json:"longestPauseSeconds"`
	// UsualSeconds is the longest pause in the hour before; nil if unknown.
	UsualSeconds *float64 `json:"usualPauseSeconds,omitempty"`
	// ObservedSeconds is the part of the operation that the log still covered.
	ObservedSeconds float64 `json:"observedSeconds"`
}

// JobsReport counts the jobs that ran when the operation started, and lists the
// containers of these jobs that ended without success. Every job counts once:
//
//	Before = After + Finished + the jobs in Failed, Interrupted and Unknown
//
// A job with several ended containers counts by the worst of them: interrupted,
// then unknown, then failed. See Ended and Balanced.
type JobsReport struct {
	Before   int `json:"before"`
	After    int `json:"after"`
	Finished int `json:"finished"`
	// Failed are the containers that ended by themselves, with an error.
	Failed []ContainerEnd `json:"failed"`
	// Interrupted are the containers that a step, the platform, or their machine
	// ended.
	Interrupted []ContainerEnd `json:"interrupted"`
	// Unknown are the containers for which neither is proven. They count as
	// interrupted.
	Unknown []ContainerEnd `json:"unknown"`
}

// ContainerEnd is the end of one container of a running job.
type ContainerEnd struct {
	Job            string    `json:"job"` // user~name
	VirtualCluster string    `json:"virtualCluster,omitempty"`
	Pod            string    `json:"pod"`
	Container      string    `json:"container"`
	Machine        string    `json:"machine"`
	Time           time.Time `json:"time"`
	// ExitCode is nil if it is unknown.
	ExitCode *int `json:"exitCode,omitempty"`
	// Step names the steps in progress.
	Step  string `json:"step"`
	Cause string `json:"cause"`
	// Evidence is what the verdict is based on.
	Evidence []string `json:"evidence,omitempty"`
}

// MarshalJSON writes an empty list for one that is nil.
func (r JobsReport) MarshalJSON() ([]byte, error) {
	type plain JobsReport
	for _, list := range []*[]ContainerEnd{&r.Failed, &r.Interrupted, &r.Unknown} {
		if *list == nil {
			*list = []ContainerEnd{}
		}
	}
	return json.Marshal(plain(r))
}

// Interruptions returns the ends that count as interruptions, by time: the
// interrupted containers and those whose end is unknown.
func (r JobsReport) Interruptions() []ContainerEnd {
	list := slices.Concat(r.Interrupted, r.Unknown)
	slices.SortStableFunc(list, func(a, b ContainerEnd) int { return a.Time.Compare(b.Time) })
	return list
}

// Ended returns the numbers of jobs that failed, that were interrupted, and whose
// end is unknown. A job counts once, by its worst end.
func (r JobsReport) Ended() (failed, interrupted, unknown int) {
	counted := map[[2]string]bool{}
	count := func(list []ContainerEnd) (n int) {
		for _, e := range list {
			if job := [2]string{e.VirtualCluster, e.Job}; !counted[job] {
				counted[job] = true
				n++
			}
		}
		return n
	}
	interrupted = count(r.Interrupted)
	unknown = count(r.Unknown)
	failed = count(r.Failed)
	return failed, interrupted, unknown
}

// Balanced reports whether every job is counted exactly once.
func (r JobsReport) Balanced() bool {
	failed, interrupted, unknown := r.Ended()
	return r.Before == r.After+r.Finished+failed+interrupted+unknown
}

// APIReport is the duration of API outages for a client that opens a connection
// for each request, and for one that keeps its connection.
type APIReport struct {
	Availability
	Kept Availability `json:"kept"`
}

// Availability summarizes one kind of probe. A gap is the time from the last
// success before a failure to the next success.
type Availability struct {
	OutageSeconds     float64 `json:"outageSeconds"`
	LongestGapSeconds float64 `json:"longestGapSeconds"`
}
