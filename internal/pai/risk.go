package pai

// Risk is what running jobs may notice of a step.
type Risk string

const (
	// RiskNone: no running job can notice the step.
	RiskNone Risk = "none"
	// RiskAPI: the Kubernetes API may pause; running containers do not notice.
	RiskAPI Risk = "api"
	// RiskNode: the step touches what runs the containers of one machine.
	RiskNode Risk = "node"
	// RiskDataPath: the step touches something a running job reads or writes through.
	RiskDataPath Risk = "data-path"
	// RiskEviction: the step ends the pods of a machine.
	RiskEviction Risk = "eviction"
)

// JobImpact is what a running job notices while a service is stopped.
type JobImpact string

const (
	ImpactNone       JobImpact = "none"
	ImpactSubmission JobImpact = "submission"
	ImpactDataPath   JobImpact = "data-path"
)
