package openpai

import (
	"slices"

	"pai.dev/pai/internal/job"
)

// JobAttempt is one run of a whole job.
type JobAttempt struct {
	JobName                    string              `json:"jobName"`
	FrameworkName              string              `json:"frameworkName"`
	UID                        string              `json:"uid"`
	UserName                   string              `json:"userName"`
	State                      job.State           `json:"state"`
	OriginState                string              `json:"originState"`
	AttemptIndex               int                 `json:"attemptIndex"`
	JobStartedTime             *int64              `json:"jobStartedTime"`
	AttemptStartedTime         *int64              `json:"attemptStartedTime"`
	AttemptCompletedTime       *int64              `json:"attemptCompletedTime"`
	ExitCode                   *int                `json:"exitCode"`
	ExitPhrase                 *string             `json:"exitPhrase"`
	ExitType                   *string             `json:"exitType"`
	ExitDiagnostics            *struct{}           `json:"exitDiagnostics"`
	AppExitTriggerMessage      *string             `json:"appExitTriggerMessage"`
	AppExitTriggerTaskRoleName *string             `json:"appExitTriggerTaskRoleName"`
	AppExitTriggerTaskIndex    *int                `json:"appExitTriggerTaskIndex"`
	AppExitSpec                *ExitSpec           `json:"appExitSpec"`
	AppExitDiagnostics         *string             `json:"appExitDiagnostics"`
	AppExitMessages            *struct{}           `json:"appExitMessages"`
	TotalGPUNumber             int                 `json:"totalGpuNumber"`
	TotalTaskNumber            int                 `json:"totalTasknumber"` // spelled like this
	TotalTaskRoleNumber        int                 `json:"totalTaskRoleNumber"`
	TaskRoles                  map[string]TaskRole `json:"taskRoles"`
	IsLatest                   bool                `json:"isLatest"`
}

// Attempt returns a run of a job.
func Attempt(s job.Status, latest bool) JobAttempt {
	d := Detail(s)
	a := JobAttempt{
		JobName: s.Name, FrameworkName: s.User + "~" + s.Name, UID: s.Object, UserName: user(s.JobRef), State: s.State, OriginState: subState(s.State, s.Ended),
		AttemptIndex: s.Retries, JobStartedTime: millis(s.Created), AttemptStartedTime: millis(s.Started), AttemptCompletedTime: millis(s.Ended),
		ExitCode: d.JobStatus.AppExitCode, ExitType: d.JobStatus.AppExitType, AppExitTriggerMessage: d.JobStatus.AppExitTriggerMessage,
		AppExitTriggerTaskRoleName: d.JobStatus.AppExitTriggerTaskRoleName, AppExitTriggerTaskIndex: d.JobStatus.AppExitTriggerTaskIndex,
		AppExitSpec: d.JobStatus.AppExitSpec, AppExitDiagnostics: d.JobStatus.AppExitDiagnostics,
		TotalGPUNumber: s.GPUs, TotalTaskNumber: s.Tasks(), TotalTaskRoleNumber: len(s.TaskRoles), TaskRoles: d.TaskRoles, IsLatest: latest,
	}
	if a.AppExitSpec != nil {
		a.ExitPhrase = new(a.AppExitSpec.Phrase)
	}
	return a
}

// TaskStatus is a task with its attempts.
type TaskStatus struct {
	TaskIndex          int       `json:"taskIndex"`
	TaskUID            string    `json:"taskUid"`
	TaskState          job.State `json:"taskState"`
	Retries            int       `json:"retries"`
	AccountableRetries int       `json:"accountableRetries"`
	CreatedTime        *int64    `json:"createdTime"`
	LaunchedTime       *int64    `json:"launchedTime"`
	CompletedTime      *int64    `json:"completedTime"`
	Username           string    `json:"username"`
	JobName            string    `json:"jobName"`
	JobAttemptID       int       `json:"jobAttemptId"`
	TaskRoleName       string    `json:"taskRoleName"`
	Attempts           []Task    `json:"attempts"`
}

// TaskAttempts returns a task of a role, by the name of OpenPAI or the one in the job;
// false if the job has no such task.
func TaskAttempts(s job.Status, role string, index int) (TaskStatus, bool) {
	key, t, found := FindTask(s, role, index)
	if !found {
		return TaskStatus{}, false
	}
	a := task(s, key, t)
	return TaskStatus{TaskIndex: a.TaskIndex, TaskUID: a.TaskUID, TaskState: a.TaskState, Retries: a.Retries, AccountableRetries: a.AccountableRetries,
		CreatedTime: a.CreatedTime, LaunchedTime: a.LaunchedTime, CompletedTime: a.CompletedTime,
		Username: user(s.JobRef), JobName: s.Name, JobAttemptID: s.Retries, TaskRoleName: key, Attempts: []Task{a}}, true
}

// FindTask returns a task, and the name that OpenPAI gives its role.
func FindTask(s job.Status, role string, index int) (key string, t job.TaskStatus, found bool) {
	for k, r := range Roles(s) {
		if k != role && r.Name != role {
			continue
		}
		i := slices.IndexFunc(r.Tasks, func(t job.TaskStatus) bool { return t.Index == index })
		if i >= 0 {
			return k, r.Tasks[i], true
		}
	}
	return "", job.TaskStatus{}, false
}
