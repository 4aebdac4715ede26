package witness

import (
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"

	"pai.dev/pai/internal/observe/running"
	"pai.dev/pai/internal/pai"
)

// Baseline is the state of the witness as data. A resumed operation continues
// from it: what ran when the operation started, what happened to it, and the
// times counted until then.
type Baseline struct {
	// Taken is when the first witness of the operation listed the jobs.
	Taken time.Time `json:"taken"`
	// LastWatched is when a witness last watched.
	LastWatched time.Time `json:"lastWatched"`
	// Step is the step that was in progress at LastWatched.
	Step string `json:"step,omitempty"`
	// Jobs are the jobs with at least one running container at Taken.
	Jobs []WatchedJob `json:"jobs"`
	// Boots is the boot ID of each observed machine.
	Boots map[string]string `json:"boots,omitempty"`
	// Counted are the times until LastWatched.
	Counted Counted `json:"counted"`
}

// Counted are the times without an API server, without submission, and without a
// witness.
type Counted struct {
	New               pai.Availability `json:"new"`
	Kept              pai.Availability `json:"kept"`
	Submission        pai.Availability `json:"submission"`
	UnobservedSeconds float64          `json:"unobservedSeconds"`
}

func (c Counted) plus(o Counted) Counted {
	return Counted{
		New: plus(c.New, o.New), Kept: plus(c.Kept, o.Kept), Submission: plus(c.Submission, o.Submission),
		UnobservedSeconds: c.UnobservedSeconds + o.UnobservedSeconds,
	}
}

// WatchedJob is a job that ran at the start.
type WatchedJob struct {
	pai.JobRef
	Namespace string `json:"namespace"`
	Object    string `json:"object"`
	// Stopped is true if the user stopped the job through PAI.
	Stopped bool `json:"stopped,omitempty"`
	// Completed is true if the job succeeded.
	Completed  bool                `json:"completed,omitempty"`
	Containers []*WatchedContainer `json:"containers"`
}

// result is Interrupted if one container is, and otherwise Running if one is.
func (j WatchedJob) result() WatchResult {
	result := Finished
	for _, c := range j.Containers {
		if c.Result == Interrupted || c.Result == Running && result == Finished {
			result = c.Result
		}
	}
	return result
}

// WatchedContainer is a container that ran at the start.
type WatchedContainer struct {
	Pod       string    `json:"pod"`
	PodUID    string    `json:"podUID"`
	Machine   string    `json:"machine"`
	Name      string    `json:"name"`
	ID        string    `json:"id"`
	Restarts  int       `json:"restarts"`
	StartedAt time.Time `json:"startedAt"`
	// Output is the last line of its log at the start; nil if the log was not read.
	Output *Line `json:"output,omitempty"`

	Result       WatchResult       `json:"fate"`
	Interruption *pai.Interruption `json:"interruption,omitempty"`

	lastAlive time.Time // when its machine last reported it alive
	pending   *pendingEnd
}

// WatchResult is the result of watching a container until now.
type WatchResult string

const (
	Running     WatchResult = "running"
	Finished    WatchResult = "finished" // ended with success, or stopped by its user
	Interrupted WatchResult = "interrupted"
)

// baselineOf returns a baseline of all running jobs.
func baselineOf(pods []corev1.Pod, sets map[string]running.JobSet, at time.Time) *Baseline {
	b := &Baseline{Taken: at, LastWatched: at}
	for _, j := range running.Join(pods, sets) {
		if job := watchedJob(j); len(job.Containers) > 0 {
			b.Jobs = append(b.Jobs, job)
		}
	}
	return b
}

// watchedJob returns a job with its running containers.
func watchedJob(j pai.Job) WatchedJob {
	job := WatchedJob{JobRef: j.JobRef, Object: j.Object, Stopped: j.Stopped}
	for _, p := range j.Pods {
		job.Namespace = p.Namespace
		for _, c := range p.Containers {
			if c.State == pai.ContainerRunning {
				job.Containers = append(job.Containers, &WatchedContainer{
					Pod: p.Name, PodUID: p.UID, Machine: p.Machine,
					Name: c.Name, ID: c.ID, Restarts: c.Restarts, StartedAt: c.StartedAt, Result: Running,
				})
			}
		}
	}
	return job
}

// clone returns a copy that shares no container and no map with b.
func (b Baseline) clone() Baseline {
	jobs := make([]WatchedJob, len(b.Jobs))
	for i, j := range b.Jobs {
		jobs[i] = j
		jobs[i].Containers = make([]*WatchedContainer, len(j.Containers))
		for k, c := range j.Containers {
			copied := *c
			jobs[i].Containers[k] = &copied
		}
	}
	b.Jobs, b.Boots = jobs, maps.Clone(b.Boots)
	return b
}
