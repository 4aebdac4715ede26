package openpai

import (
	"pai.dev/pai/internal/history"
	"pai.dev/pai/internal/job"
)

// RetryDetails says why a job was restarted.
type RetryDetails struct {
	User     int `json:"user"`
	Platform int `json:"platform"`
	Resource int `json:"resource"`
}

// JobSummary is a job in a list.
type JobSummary struct {
	DebugID             string       `json:"debugId"`
	Name                string       `json:"name"`
	Username            string       `json:"username"`
	State               job.State    `json:"state"`
	SubState            string       `json:"subState"`
	ExecutionType       string       `json:"executionType"`
	Tags                []string     `json:"tags"`
	Retries             int          `json:"retries"`
	RetryDetails        RetryDetails `json:"retryDetails"`
	RetryDelayTime      *int64       `json:"retryDelayTime"`
	SubmissionTime      *int64       `json:"submissionTime"`
	CreatedTime         *int64       `json:"createdTime"`
	LaunchedTime        *int64       `json:"launchedTime"`
	CompletedTime       *int64       `json:"completedTime"`
	AppExitCode         *int         `json:"appExitCode"`
	VirtualCluster      string       `json:"virtualCluster"`
	TotalGPUNumber      int          `json:"totalGpuNumber"`
	TotalTaskNumber     int          `json:"totalTaskNumber"`
	TotalTaskRoleNumber int          `json:"totalTaskRoleNumber"`
	JobPriority         *string      `json:"jobPriority"`
}

// Summary returns the summary of a job.
func Summary(s history.Summary) JobSummary {
	return JobSummary{
		DebugID: debugID(s.JobRef), Name: s.Name, Username: user(s.JobRef), State: s.State, SubState: subState(s.State, s.Ended),
		ExecutionType: executionType(s.StopAsked), Tags: listOf(s.Tags), Retries: s.Retries, RetryDetails: RetryDetails{User: s.Retries},
		SubmissionTime: millis(s.Created), CreatedTime: millis(s.Created), LaunchedTime: millis(s.Started), CompletedTime: millis(s.Ended),
		AppExitCode: exitCode(s), VirtualCluster: s.VirtualCluster,
		TotalGPUNumber: s.GPUs, TotalTaskNumber: s.Tasks, TotalTaskRoleNumber: s.TaskRoles, JobPriority: text(s.Priority),
	}
}

// JobsWithCount is a page of a list with the number of all jobs of the list.
type JobsWithCount struct {
	TotalCount int          `json:"totalCount"`
	Data       []JobSummary `json:"data"`
	// Incomplete means that jobs which left the cluster are missing. OpenPAI does not
	// have it.
	Incomplete bool `json:"incomplete,omitempty"`
}
