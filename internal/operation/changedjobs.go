package operation

import (
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"pai.dev/pai/internal/cluster"
	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/observe/running"
	"pai.dev/pai/internal/pai"
)

// changedJob is a job whose record a restore of etcd changes, and what keeps it from
// running again.
type changedJob struct {
	pai.RestoredJob
	ref          pai.JobRef
	id           string // "namespace/object"
	keep, remove bool
}

// changedJobs compares the records of jobs in a snapshot and in etcd. It lists the jobs
// with another record. A job that has ended or was removed must not run again, so
// its record is kept as it is, or removed again.
func changedJobs(loss cluster.Loss) ([]changedJob, error) {
	then, err := loss.Then.Records()
	if err != nil {
		return nil, err
	}
	now, err := loss.Now.Records()
	if err != nil {
		return nil, err
	}
	ids := slices.Concat(slices.Collect(maps.Keys(then)), slices.Collect(maps.Keys(now)))
	slices.Sort(ids)
	var changed []changedJob
	for _, id := range slices.Compact(ids) {
		was, err := statusOf(then[id])
		if err != nil {
			return nil, err
		}
		is, err := statusOf(now[id])
		if err != nil {
			return nil, err
		}
		if j, ok := changedJobOf(loss, id, was, is); ok {
			changed = append(changed, j)
		}
	}
	slices.SortStableFunc(changed, func(a, b changedJob) int { return a.Submitted.Compare(b.Submitted) })
	return changed, nil
}

// observed is a job in one of the two states.
type observed struct {
	job.Status
	record *cluster.JobRecord
	uid    types.UID
}

func statusOf(r *cluster.JobRecord) (*observed, error) {
	if r == nil || r.Set == nil {
		return nil, nil
	}
	s, err := job.ReadStatus(r.Set, r.Pods)
	return &observed{s, r, r.Set.GetUID()}, err
}

// changedJobOf returns false for a job that the restore does not change.
func changedJobOf(loss cluster.Loss, id string, was, is *observed) (changedJob, bool) {
	j := changedJob{id: id}
	if was != nil {
		j.Restored = string(was.State)
	}
	switch {
	case is == nil && was == nil:
		return j, false
	case is == nil:
		j.describe(*was)
		j.State, j.Record, j.Containers, j.remove = "", pai.RecordRemoved, pai.ContainersEnded, true
		return j, true
	}
	j.describe(*is)
	same := was != nil && was.uid == is.uid
	j.Ran = ranSince(loss, is.record)
	j.Containers = pai.ContainersNone
	if len(j.Ran) > 0 {
		j.Containers = pai.ContainersUnknown // until the machines are asked
	}
	if !is.State.Ended() && is.State != job.StateStopping {
		// A job of the same name that was removed must not run beside its successor.
		j.remove = was != nil && !same
		j.Record = pai.RecordLost
		if same {
			j.Record = pai.RecordEarlier
		}
		return j, !same || len(j.Ran) > 0 || was.State != is.State || was.Retries != is.Retries
	}
	if same && was.State == is.State {
		return j, false
	}
	j.Containers = pai.ContainersEnded
	if err := loss.CanKeep(id); err == nil {
		j.Record, j.keep, j.Ran = pai.RecordKept, true, nil
	} else {
		j.Record = pai.RecordLost
		if was != nil {
			j.Record = pai.RecordEarlier
			j.RunsAgain = err.Error()
		}
	}
	return j, true
}

func (j *changedJob) describe(o observed) {
	j.ref = o.JobRef
	j.Job, j.User, j.VirtualCluster = o.String(), o.User, o.VirtualCluster
	j.Submitted, j.Ended, j.State = o.Created.UTC(), o.Ended, string(o.State)
	if !j.Ended.IsZero() {
		j.Ended = j.Ended.UTC()
	}
}

// ranSince are the running containers of a job in pods that the snapshot lacks.
func ranSince(loss cluster.Loss, r *cluster.JobRecord) (ran []pai.RanContainer) {
	for _, j := range running.Join(r.Pods, nil) {
		for _, p := range j.Pods {
			if !loss.Created["/registry/pods/"+p.Namespace+"/"+p.Name] {
				continue
			}
			for _, c := range p.Containers {
				if c.State == pai.ContainerRunning {
					ran = append(ran, pai.RanContainer{Pod: p.Name, Name: c.Name, Machine: p.Machine, ID: c.ID})
				}
			}
		}
	}
	return ran
}

// carryOf is what a restore keeps and removes for these jobs.
func carryOf(changed []changedJob) (c cluster.Carry) {
	for _, j := range changed {
		switch {
		case j.keep:
			c.Keep = append(c.Keep, j.id)
		case j.remove:
			c.Remove = append(c.Remove, j.id)
		}
	}
	return c
}

// restoreOf is the record of a restore.
func restoreOf(loss cluster.Loss, changed []changedJob) *pai.Restore {
	r := &pai.Restore{Snapshot: loss.Snapshot, Taken: loss.Taken.UTC(), Jobs: []pai.RestoredJob{}, Unknown: loss.Unknown}
	for _, j := range changed {
		r.Jobs = append(r.Jobs, j.RestoredJob)
	}
	return r
}

// endedBy are the jobs whose containers a restore ends.
func endedBy(changed []changedJob) (jobs []pai.JobRef) {
	for _, j := range changed {
		if len(j.Ran) > 0 {
			jobs = append(jobs, j.ref)
		}
	}
	return jobs
}

// changedNotes name the jobs in the notes of a plan.
func changedNotes(changed []changedJob) []string {
	named := map[string][]string{}
	for _, j := range changed {
		title := map[pai.RecordOutcome]string{
			pai.RecordLost:    "jobs that were submitted since the snapshot, whose records will be lost: ",
			pai.RecordEarlier: "jobs that will be again in the state that they had in the snapshot: ",
			pai.RecordKept:    "jobs that ended since the snapshot, whose records stay as they are: ",
			pai.RecordRemoved: "jobs that were removed since the snapshot, and stay removed: ",
		}[j.Record]
		text := j.Job
		switch {
		case j.Record == pai.RecordEarlier:
			text += " (" + j.State + ", was " + j.Restored + ")"
		case j.State != "":
			text += " (" + j.State + ")"
		}
		if j.RunsAgain != "" {
			text += ", which can run again: " + j.RunsAgain
		}
		named[title] = append(named[title], text)
	}
	var notes []string
	for _, title := range slices.Sorted(maps.Keys(named)) {
		notes = append(notes, title+strings.Join(named[title], ", "))
	}
	return notes
}
