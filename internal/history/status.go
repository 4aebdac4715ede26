package history

import (
	"slices"

	"pai.dev/pai/internal/job"
)

const (
	maxMessage = 2 << 10
	maxTasks   = 10000 // a job has fewer
)

// completed is a status with what only an earlier one of the same attempt has:
// Kubernetes deletes the pods of tasks that have ended.
func completed(now, before job.Status) job.Status {
	if now.Started.IsZero() || !before.Started.IsZero() && before.Started.Before(now.Started) {
		now.Started = before.Started
	}
	now.TaskRoles = slices.Clone(now.TaskRoles)
	for i, role := range now.TaskRoles {
		if i >= len(before.TaskRoles) || before.TaskRoles[i].Name != role.Name {
			continue
		}
		known := before.TaskRoles[i].Tasks
		role.Tasks = slices.Clone(role.Tasks)
		for j, t := range role.Tasks {
			if t.Pod == "" && j < len(known) && known[j].Index == t.Index && known[j].Pod != "" {
				state := t.State
				role.Tasks[j] = known[j]
				if !known[j].State.Ended() {
					role.Tasks[j].State = state
				}
			}
		}
		now.TaskRoles[i] = role
	}
	return now
}

// bounded is a status without what would fill the database.
func bounded(s job.Status) job.Status {
	s.Message = shorten(s.Message)
	s.TaskRoles = slices.Clone(s.TaskRoles)
	left := maxTasks
	for i, role := range s.TaskRoles {
		role.Tasks = slices.Clone(role.Tasks[:min(left, len(role.Tasks))])
		left -= len(role.Tasks)
		for j := range role.Tasks {
			role.Tasks[j].Message = shorten(role.Tasks[j].Message)
		}
		s.TaskRoles[i] = role
	}
	return s
}

func shorten(text string) string {
	if len(text) <= maxMessage {
		return text
	}
	return clean(text[:maxMessage]) + "…"
}

// Messages of jobs whose end was not observed.
const (
	leftUnrecorded = "it left the cluster before its end was recorded: it was deleted there, or the cluster lost it"
	wasRetried     = "the job was restarted"
)

// asLeft is a recorded status as that of a job that is in the cluster no more: it has
// the state and the tags of its summary.
func asLeft(s job.Status, sum Summary) job.Status {
	s.Tags = sum.Tags
	if s.State.Ended() {
		return s
	}
	s.State, s.Ended, s.Message = sum.State, sum.Ended, leftUnrecorded
	return withEndedTasks(s)
}

// asRetried is a recorded attempt that a newer one followed.
func asRetried(s job.Status) job.Status {
	if s.State.Ended() {
		return s
	}
	s.State = job.StateFailed
	if s.Message == "" || s.Count(job.StateFailed) == 0 {
		s.Message = wasRetried
	}
	return withEndedTasks(s)
}

func withEndedTasks(s job.Status) job.Status {
	s.TaskRoles = slices.Clone(s.TaskRoles)
	for i, role := range s.TaskRoles {
		role.Tasks = slices.Clone(role.Tasks)
		for j := range role.Tasks {
			if !role.Tasks[j].State.Ended() {
				role.Tasks[j].State = job.StateStopped
			}
		}
		s.TaskRoles[i] = role
	}
	return s
}
