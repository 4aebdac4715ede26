package history

import (
	"slices"
	"strings"
	"time"

	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/pai"
)

// Summary is a job in a list. Everything that selects and orders jobs is in it.
type Summary struct {
	UID string // of its JobSet: no two jobs have the same, also if they have the same name
	pai.JobRef
	State                           job.State
	Priority                        string // empty if it asked for none
	Created, Started, Ended         time.Time
	Retries, GPUs, Tasks, TaskRoles int
	ExitCode                        *int // of the task that failed first
	StopAsked                       bool
	Tags                            []string
	// Seen is when a server last saw the job in the cluster, as far as it is recorded, and
	// Left when one did not find it there; zero while it is there.
	Seen, Left time.Time
}

// Summarize returns the summary of a job.
func Summarize(s job.Status) Summary {
	sum := Summary{
		UID: s.UID, JobRef: s.JobRef, State: s.State, Priority: s.Priority, Created: s.Created, Started: s.Started, Ended: s.Ended,
		Retries: s.Retries, GPUs: s.GPUs, Tasks: s.Tasks(), TaskRoles: len(s.TaskRoles), StopAsked: s.StopAsked, Tags: s.Tags,
	}
	if _, t := s.FirstFailed(); t != nil && t.ExitCode != nil {
		sum.ExitCode = new(*t.ExitCode)
	}
	return sum
}

// Public is what users see of the job of another user, and order and select by. A new field
// is private until it is here.
func (s Summary) Public() Summary {
	return Summary{UID: s.UID, JobRef: s.JobRef, State: s.State, Created: s.Created, Started: s.Started, Ended: s.Ended}
}

// unknown is a time that is not known, in the database. It is after all others.
const unknown = 1<<63 - 1

func toMillis(t time.Time) int64 {
	if t.IsZero() {
		return unknown
	}
	return t.UnixMilli()
}

func fromMillis(ms int64) time.Time {
	if ms == unknown {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// joinTags has a comma before and after each tag, so that one can be found as a whole.
func joinTags(tags []string) string {
	if len(tags) == 0 {
		return ""
	}
	return "," + strings.Join(tags, ",") + ","
}

func splitTags(text string) []string {
	return job.ReadTags(strings.Trim(text, ","))
}

// clean makes a text one that every database can keep.
func clean(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

func cleanAll(texts []string) []string {
	if texts == nil {
		return nil
	}
	all := slices.Clone(texts)
	for i := range all {
		all[i] = clean(all[i])
	}
	return all
}
