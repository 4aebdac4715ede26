package witness

import (
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"

	"pai.dev/pai/internal/observe/running"
	"pai.dev/pai/internal/pai"
)

// Baseline is what the witness knows, as data that a resumed operation goes on
// from: what ran when the operation started, what became of it so far, and the
// time counted so far.
type Baseline struct {
	// Taken is when the operation's first witness looked.
	Taken time.Time `json:"taken"`
	// LastWatched is when a witness last watched.
	LastWatched time.Time `json:"lastWatched"`
	// Step is the step that was in progress then.
	Step string `json:"step,omitempty"`
	// Jobs are the jobs of which a container ran at Taken.
	Jobs []WatchedJob `json:"jobs"`
	// Boots says of each machine that was asked which boot of it this is.
	Boots map[string]string `json:"boots,omitempty"`
	// Counted is the time counted up to LastWatched.
	Counted Counted `json:"counted"`
}

// Counted is time without an API, without submission and without a witness.
type Counted struct {
	New               pai.Availability `json:"new"`
	Kept              pai.Availability `json:"kept"`
	Submission        pai.Availability `json:"submission"`
	UnobservedSeconds float64          `json:"unobservedSeconds"`
}

// WatchedJob is a job under watch.
type WatchedJob struct {
	pai.JobRef
	Namespace string `json:"namespace"`
	Object    string `json:"object"`
	// Stopped is true when its user was seen to stop it through PAI.
	Stopped bool `json:"stopped,omitempty"`
	// Completed is true when it was seen to have reached its success.
	Completed  bool                `json:"completed,omitempty"`
	Containers []*WatchedContainer `json:"containers"`
}

// WatchedContainer is a container under watch: one that ran at the start.
type WatchedContainer struct {
	Pod       string    `json:"pod"`
	PodUID    string    `json:"podUID"`
	Machine   string    `json:"machine"`
	Name      string    `json:"name"`
	ID        string    `json:"id"`
	Restarts  int       `json:"restarts"`
	StartedAt time.Time `json:"startedAt"`
	// Output is the last line it had printed; nil when that could not be read.
	Output *Line `json:"output,omitempty"`

	// Result is how its watch stands.
	Result       WatchResult       `json:"fate"`
	Interruption *pai.Interruption `json:"interruption,omitempty"`

	lastAlive time.Time // when its machine last showed it alive
	suspicion *suspicion
}

// WatchResult is what became of a container under watch.
type WatchResult string

const (
	Running     WatchResult = "running"
	Finished    WatchResult = "finished" // ended with success, or as its user wished
	Interrupted WatchResult = "interrupted"
)

// baselineOf makes a baseline of all jobs that run.
func baselineOf(pods []corev1.Pod, sets map[string]running.JobSet, at time.Time) *Baseline {
	b := &Baseline{Taken: at, LastWatched: at}
	for _, j := range running.Join(pods, sets) {
		if job := jobOf(j); len(job.Containers) > 0 {
			b.Jobs = append(b.Jobs, job)
		}
	}
	return b
}

// jobOf takes the containers of a job that run.
func jobOf(j pai.Job) WatchedJob {
	job := WatchedJob{JobRef: j.JobRef, Object: j.Object, Stopped: j.Stopped}
	for _, p := range j.Pods {
		job.Namespace = p.Namespace
		for _, c := range p.Containers {
			if c.State != pai.ContainerRunning {
				continue
			}
			job.Containers = append(job.Containers, &WatchedContainer{
				Pod: p.Name, PodUID: p.UID, Machine: p.Machine,
				Name: c.Name, ID: c.ID, Restarts: c.Restarts, StartedAt: c.StartedAt, Result: Running,
			})
		}
	}
	return job
}

// clone is a copy that nobody changes any more.
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
