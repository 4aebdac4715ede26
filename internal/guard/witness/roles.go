package witness

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"pai.dev/pai/internal/observe/running"
)

// task is a task of a job: an index of the Job of its role.
type task struct {
	role  string
	index string
}

func taskOf(p *corev1.Pod) task {
	return task{p.Labels[batchv1.JobNameLabel], p.Annotations[batchv1.JobCompletionIndexAnnotation]}
}

// maxPodPrefix is the length of a pod's name without its random end
// (k8s.io/apiserver/pkg/storage/names).
const maxPodPrefix = 58

// hasPod reports whether a pod has the name of one of this task.
func (t task) hasPod(name string) bool {
	index := "-" + t.index + "-"
	return strings.HasPrefix(name, t.role[:min(len(t.role), maxPodPrefix-len(index))]+index)
}

// failedRole is why the Job of a task role failed.
type failedRole struct {
	name   string
	reason string
	// failed are its tasks without retries left; empty if unknown.
	failed []task
	// limit is its time limit, and reached is when that was reached; zero if the Job did
	// not fail because of it.
	limit   time.Duration
	reached time.Time
}

// readFailedRole reads why a Job failed, or is about to.
func readFailedRole(role batchv1.Job) (r failedRole, failed bool) {
	i := slices.IndexFunc(role.Status.Conditions, func(c batchv1.JobCondition) bool {
		return (c.Type == batchv1.JobFailureTarget || c.Type == batchv1.JobFailed) && c.Status == corev1.ConditionTrue
	})
	if i < 0 {
		return failedRole{}, false
	}
	c := role.Status.Conditions[i]
	r = failedRole{name: role.Name, reason: c.Reason}
	switch c.Reason {
	case batchv1.JobReasonDeadlineExceeded:
		if start, limit := role.Status.StartTime, role.Spec.ActiveDeadlineSeconds; start != nil && limit != nil {
			r.limit = time.Duration(*limit) * time.Second
			r.reached = start.Add(r.limit)
		}
	case batchv1.JobReasonMaxFailedIndexesExceeded, batchv1.JobReasonFailedIndexes:
		if role.Status.FailedIndexes != nil {
			r.failed = tasksOf(role.Name, *role.Status.FailedIndexes)
		}
	}
	return r, true
}

// tasksOf reads indexes such as "1,3-5"; nil if they cannot be read.
func tasksOf(role, indexes string) (list []task) {
	for part := range strings.SplitSeq(indexes, ",") {
		first, last, interval := strings.Cut(part, "-")
		if !interval {
			last = first
		}
		from, err := strconv.Atoi(first)
		to, errTo := strconv.Atoi(last)
		if err != nil || errTo != nil {
			return nil
		}
		for i := from; i <= to; i++ {
			list = append(list, task{role, strconv.Itoa(i)})
		}
	}
	return list
}

// recordRoles records why roles of a job failed.
func (l *ledger) recordRoles(key string, roles []failedRole) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.jobs {
		if j := &l.jobs[i]; running.Key(j.Namespace, j.Object) == key && len(roles) > 0 {
			j.roles = roles
		}
	}
}

// failedTasks are the tasks that made roles of the job fail; empty if unknown.
func (j *WatchedJob) failedTasks() (list []task) {
	for _, r := range j.roles {
		list = append(list, r.failed...)
	}
	return list
}

// timedOut says which role of the job had reached the time limit of the job before a pod
// was deleted; empty if none had, or if it is not known when the pod was.
func (j *WatchedJob) timedOut(deleted time.Time) string {
	for _, r := range j.roles {
		if !r.reached.IsZero() && !deleted.IsZero() && !deleted.Before(r.reached.Truncate(secondsOnly)) {
			return fmt.Sprintf("its pod was deleted when its job reached its own time limit of %s at %s (%s of %s)", r.limit, clock(r.reached), r.reason, r.name)
		}
	}
	return ""
}
