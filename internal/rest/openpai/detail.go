package openpai

import (
	"fmt"
	"math"
	"net/url"

	"pai.dev/pai/internal/history"
	"pai.dev/pai/internal/job"
)

// JobDetail is one attempt of a job with its tasks.
type JobDetail struct {
	DebugID     string              `json:"debugId"`
	Name        string              `json:"name"`
	Tags        []string            `json:"tags"`
	JobPriority *string             `json:"jobPriority"`
	JobStatus   JobStatus           `json:"jobStatus"`
	TaskRoles   map[string]TaskRole `json:"taskRoles"`
}

// ExitSpec explains an exit code.
type ExitSpec struct {
	Code     int      `json:"code"`
	Phrase   string   `json:"phrase"`
	Issuer   string   `json:"issuer"`
	Causer   string   `json:"causer"`
	Type     string   `json:"type"`
	Stage    string   `json:"stage"`
	Behavior string   `json:"behavior"`
	Reaction string   `json:"reaction"`
	Reason   string   `json:"reason"`
	Repro    []string `json:"repro"`
	Solution []string `json:"solution"`
}

// ExitMessages are why a job ended, by who noticed.
type ExitMessages struct {
	Container *string `json:"container"`
	Runtime   *string `json:"runtime"`
	Launcher  *string `json:"launcher"`
}

// JobStatus is the status of a job as a whole.
type JobStatus struct {
	Username                   string        `json:"username"`
	State                      job.State     `json:"state"`
	SubState                   string        `json:"subState"`
	ExecutionType              string        `json:"executionType"`
	Retries                    int           `json:"retries"`
	RetryDetails               RetryDetails  `json:"retryDetails"`
	RetryDelayTime             *int64        `json:"retryDelayTime"`
	SubmissionTime             *int64        `json:"submissionTime"`
	CreatedTime                *int64        `json:"createdTime"`
	LaunchedTime               *int64        `json:"launchedTime"`
	CompletedTime              *int64        `json:"completedTime"`
	AttemptID                  int           `json:"attemptId"`
	AttemptState               string        `json:"attemptState"`
	AppID                      string        `json:"appId"`
	AppProgress                float64       `json:"appProgress"`
	AppTrackingURL             string        `json:"appTrackingUrl"`
	AppCreatedTime             *int64        `json:"appCreatedTime"`
	AppLaunchedTime            *int64        `json:"appLaunchedTime"`
	AppCompletedTime           *int64        `json:"appCompletedTime"`
	AppExitCode                *int          `json:"appExitCode"`
	AppExitSpec                *ExitSpec     `json:"appExitSpec"`
	AppExitDiagnostics         *string       `json:"appExitDiagnostics"`
	AppExitMessages            *ExitMessages `json:"appExitMessages"`
	AppExitTriggerMessage      *string       `json:"appExitTriggerMessage"`
	AppExitTriggerTaskRoleName *string       `json:"appExitTriggerTaskRoleName"`
	AppExitTriggerTaskIndex    *int          `json:"appExitTriggerTaskIndex"`
	AppExitType                *string       `json:"appExitType"`
	VirtualCluster             string        `json:"virtualCluster"`
}

// TaskRole is the tasks of a role.
type TaskRole struct {
	TaskRoleStatus RoleStatus `json:"taskRoleStatus"`
	TaskStatuses   []Task     `json:"taskStatuses"`
}

// RoleStatus names a task role.
type RoleStatus struct {
	Name string `json:"name"`
}

// Task is the newest attempt of a task.
type Task struct {
	TaskIndex                   int               `json:"taskIndex"`
	TaskUID                     string            `json:"taskUid,omitempty"` // clients want a number, or nothing
	TaskState                   job.State         `json:"taskState"`
	Retries                     int               `json:"retries"`
	AccountableRetries          int               `json:"accountableRetries"`
	CreatedTime                 *int64            `json:"createdTime"`
	LaunchedTime                *int64            `json:"launchedTime"`
	CompletedTime               *int64            `json:"completedTime"`
	AttemptID                   int               `json:"attemptId"`
	AttemptState                string            `json:"attemptState"`
	CurrentAttemptCreatedTime   *int64            `json:"currentAttemptCreatedTime"`
	CurrentAttemptLaunchedTime  *int64            `json:"currentAttemptLaunchedTime"`
	CurrentAttemptCompletedTime *int64            `json:"currentAttemptCompletedTime"`
	ContainerID                 *string           `json:"containerId"`
	ContainerIP                 *string           `json:"containerIp"`
	ContainerNodeName           *string           `json:"containerNodeName"`
	ContainerPorts              map[string]string `json:"containerPorts"`
	ContainerGPUs               *string           `json:"containerGpus"`
	ContainerLog                string            `json:"containerLog"`
	ContainerExitCode           *int              `json:"containerExitCode"`
	ContainerExitSpec           *ExitSpec         `json:"containerExitSpec"`
	ContainerExitDiagnostics    *string           `json:"containerExitDiagnostics"`
}

// Detail returns the details of a job.
func Detail(s job.Status) JobDetail {
	d := JobDetail{DebugID: debugID(s.JobRef), Name: s.Name, Tags: listOf(s.Tags), JobPriority: text(s.Priority), JobStatus: jobStatus(s), TaskRoles: map[string]TaskRole{}}
	for key, role := range Roles(s) {
		r := TaskRole{TaskRoleStatus: RoleStatus{Name: key}, TaskStatuses: []Task{}}
		for _, t := range role.Tasks {
			r.TaskStatuses = append(r.TaskStatuses, task(s, key, t))
		}
		d.TaskRoles[key] = r
	}
	return d
}

// Roles returns the task roles of a job by the names that OpenPAI gives them. Two roles
// that it cannot distinguish keep their names.
func Roles(s job.Status) map[string]job.TaskRoleStatus {
	count := map[string]int{}
	for _, r := range s.TaskRoles {
		count[RoleKey(r.Name)]++
	}
	roles := map[string]job.TaskRoleStatus{}
	for _, r := range s.TaskRoles {
		key := RoleKey(r.Name)
		if key == "" || count[key] > 1 {
			key = r.Name
		}
		roles[key] = r
	}
	return roles
}

func jobStatus(s job.Status) JobStatus {
	st := JobStatus{
		Username: user(s.JobRef), State: s.State, SubState: subState(s.State, s.Ended), ExecutionType: executionType(s.StopAsked),
		Retries: s.Retries, RetryDetails: RetryDetails{User: s.Retries},
		SubmissionTime: millis(s.Created), CreatedTime: millis(s.Created), LaunchedTime: millis(s.Started), CompletedTime: millis(s.Ended),
		AttemptID: s.Retries, AttemptState: subState(s.State, s.Ended), AppID: s.Object,
		AppCreatedTime: millis(s.Created), AppLaunchedTime: millis(s.Started), AppCompletedTime: millis(s.Ended),
		AppExitCode: exitCode(history.Summarize(s)), VirtualCluster: s.VirtualCluster,
	}
	if s.State.Ended() {
		st.AppProgress = 1
		st.AppExitSpec = exitSpec(st.AppExitCode, s.Message)
		st.AppExitType = new(string(s.State))
	}
	if s.Message != "" {
		st.AppExitDiagnostics = new(s.Message)
		st.AppExitMessages = &ExitMessages{Launcher: new(s.Message)}
	}
	if role, t := s.FirstFailed(); t != nil && s.State == job.StateFailed {
		st.AppExitTriggerMessage = new(s.Message)
		st.AppExitTriggerTaskRoleName, st.AppExitTriggerTaskIndex = new(role), new(t.Index)
	}
	return st
}

func task(s job.Status, role string, t job.TaskStatus) Task {
	out := Task{
		TaskIndex: t.Index, TaskUID: t.PodUID, TaskState: t.State, Retries: t.Retries, AccountableRetries: t.Retries,
		CreatedTime: millis(t.PodCreated), LaunchedTime: millis(t.Started), CompletedTime: millis(t.Ended),
		AttemptID: t.Retries, AttemptState: subState(t.State, s.Ended),
		CurrentAttemptCreatedTime: millis(t.PodCreated), CurrentAttemptLaunchedTime: millis(t.Started), CurrentAttemptCompletedTime: millis(t.Ended),
		ContainerID: text(t.PodUID), ContainerIP: text(t.PodIP), ContainerNodeName: text(t.Machine), ContainerPorts: map[string]string{},
		ContainerGPUs: gpus(t), ContainerLog: LogPath(s, role, t), ContainerExitCode: t.ExitCode,
	}
	if t.State.Ended() && t.ExitCode != nil {
		out.ContainerExitSpec = exitSpec(t.ExitCode, t.Message)
	}
	if t.Message != "" {
		out.ContainerExitDiagnostics = new(t.Message)
	}
	return out
}

// LogPath is the path of the operation that locates the output of a task.
func LogPath(s job.Status, role string, t job.TaskStatus) string {
	return fmt.Sprintf("/rest-server/api/v2/jobs/%s~%s/attempts/%d/taskRoles/%s/taskIndex/%d/attempts/%d/logs",
		url.PathEscape(s.User), url.PathEscape(s.Name), s.Retries, url.PathEscape(role), t.Index, t.Retries)
}

func text(s string) *string {
	if s == "" {
		return nil
	}
	return new(s)
}

// gpus is OpenPAI's bit mask of the GPUs of a task that has a machine.
func gpus(t job.TaskStatus) *string {
	if t.GPUs == 0 || t.Machine == "" || t.GPUs > 62 {
		return nil
	}
	return new(fmt.Sprint(int64(math.Pow(2, float64(t.GPUs))) - 1))
}

// exitSpec explains an exit code in the words of PAI.
func exitSpec(code *int, message string) *ExitSpec {
	if code == nil {
		return nil
	}
	spec := ExitSpec{Code: *code, Issuer: "PAI", Causer: "USER_CONTAINER", Type: "UNKNOWN_FAILURE", Stage: "RUNNING", Behavior: "UNKNOWN",
		Reaction: "RETRY_TO_MAX", Reason: message, Repro: []string{}, Solution: []string{}, Phrase: "ContainerFailed"}
	switch *code {
	case 0:
		spec.Phrase, spec.Type, spec.Behavior, spec.Reaction = "Succeeded", "SUCCESS", "PERMANENT", "NEVER_RETRY"
	case exitStopped:
		spec.Phrase, spec.Causer, spec.Type, spec.Behavior, spec.Reaction = "StopJobRequested", "USER_STOP", "USER_STOP", "PERMANENT", "NEVER_RETRY"
	case exitUnknown:
		spec.Phrase, spec.Causer = "UnknownFailure", "UNKNOWN"
	}
	return &spec
}
