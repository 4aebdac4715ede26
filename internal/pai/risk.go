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

// JobImpact is what a running job notices while a service is stopped, as the service
// declares it. It becomes the risk of the steps of the service: RiskDataPath for
// ImpactDataPath and for what is not known, RiskNone for the others.
type JobImpact string

const (
	// ImpactNone: nothing about jobs needs the service.
	ImpactNone JobImpact = "none"
	// ImpactSubmission: jobs cannot be submitted or start; running ones do not notice.
	ImpactSubmission JobImpact = "submission"
	// ImpactDataPath: running jobs read or write through the service.
	ImpactDataPath JobImpact = "data-path"
)
