package history

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"pai.dev/pai/internal/job"
)

const (
	maxMessage = 2 << 10
	maxTasks   = 10000 // a job has fewer
	// maxMessages is how many bytes the messages of all tasks have.
	maxMessages = 256 << 10
	// maxStatus is how many bytes a status has, and maxEarlier that of an attempt that was
	// followed by another one. Of larger ones only maxFailed tasks that failed are kept.
	maxStatus  = 8 << 20
	maxEarlier = 128 << 10
	maxFailed  = 100
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

// bounded is a status without what would fill the database. Why tasks failed is kept
// before what others say.
func bounded(s job.Status) job.Status {
	s.Message = shorten(s.Message)
	s.TaskRoles = slices.Clone(s.TaskRoles)
	tasks, bytes := maxTasks, maxMessages
	for i, role := range s.TaskRoles {
		s.TaskRoles[i].Tasks = slices.Clone(role.Tasks[:min(tasks, len(role.Tasks))])
		tasks -= len(s.TaskRoles[i].Tasks)
	}
	for _, failed := range []bool{true, false} {
		for _, role := range s.TaskRoles {
			for j := range role.Tasks {
				t := &role.Tasks[j]
				if failed != (t.State == job.StateFailed) {
					continue
				}
				if t.Message = shorten(t.Message); len(t.Message) > bytes {
					t.Message = ""
				}
				bytes -= len(t.Message)
			}
		}
	}
	return s
}

// onlyFailed is a status with no other tasks than some that failed.
func onlyFailed(s job.Status) job.Status {
	s.TaskRoles = slices.Clone(s.TaskRoles)
	left := maxFailed
	for i, role := range s.TaskRoles {
		failed := slices.DeleteFunc(slices.Clone(role.Tasks), func(t job.TaskStatus) bool { return t.State != job.StateFailed })
		s.TaskRoles[i].Tasks = failed[:min(left, len(failed))]
		left -= len(s.TaskRoles[i].Tasks)
	}
	return s
}

// encoded is a status as the database has it, at most about maxStatus bytes.
func encoded(s job.Status) ([]byte, error) {
	s = bounded(s)
	text, err := json.Marshal(s)
	if err == nil && len(text) > maxStatus {
		text, err = json.Marshal(onlyFailed(s))
	}
	return text, err
}

// withoutMessages is a status without what its tasks say, for lists.
func withoutMessages(s job.Status) job.Status {
	for _, role := range s.TaskRoles {
		for j := range role.Tasks {
			role.Tasks[j].Message = ""
		}
	}
	return s
}

func shorten(text string) string {
	if len(text) <= maxMessage {
		return text
	}
	return clean(text[:maxMessage]) + "…"
}

// wasRetried is the message of an attempt whose end was not observed.
const wasRetried = "the job was restarted"

// asLeft is a recorded status as that of a job that is in the cluster no more: it has
// the tags of its summary. If no server saw its end, how it ended is unknown, and Ended is
// when it was over at the latest.
func asLeft(s job.Status, sum Summary) job.Status {
	s.Tags = sum.Tags
	if s.State.Ended() {
		return s
	}
	until := "it is not in the cluster now"
	if !sum.Left.IsZero() {
		until = "it was not in the cluster at " + sum.Left.UTC().Format(time.RFC3339)
	}
	s.Message = fmt.Sprintf("how it ended was not seen: it was last seen as %s at %s, and %s", s.State, sum.Seen.UTC().Format(time.RFC3339), until)
	s.State, s.Ended = job.StateUnknown, sum.Left
	return withEndedTasks(s, job.StateUnknown)
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
	return withEndedTasks(s, job.StateStopped)
}

// withEndedTasks gives a state to the tasks whose end was not seen.
func withEndedTasks(s job.Status, state job.State) job.Status {
	s.TaskRoles = slices.Clone(s.TaskRoles)
	for i, role := range s.TaskRoles {
		role.Tasks = slices.Clone(role.Tasks)
		for j := range role.Tasks {
			if !role.Tasks[j].State.Ended() {
				role.Tasks[j].State = state
			}
		}
		s.TaskRoles[i] = role
	}
	return s
}
