package pai

// Gaps are how long users wait while PAI replaces what starts their jobs. Running
// jobs do not notice them.
type Gaps struct {
	// SubmissionSeconds is how long no job can be submitted.
	SubmissionSeconds float64 `json:"submissionSeconds"`
	// AdmissionSeconds is how long no submitted job is admitted.
	AdmissionSeconds float64 `json:"admissionSeconds"`
	// StartSeconds is how long no container starts, by machine.
	StartSeconds map[string]float64 `json:"startSeconds,omitempty"`
}
