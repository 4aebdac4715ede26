package witness

import (
	"cmp"
	"maps"
	"slices"
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
	// Steps are the steps that were in progress at LastWatched, with their reach.
	Steps []Step `json:"steps,omitempty"`
	// Stopped is true if the witness ended with its operation, so that no step was
	// in progress afterwards.
	Stopped bool `json:"stopped,omitempty"`
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
	Admission         pai.Availability `json:"admission"`
	UnobservedSeconds float64          `json:"unobservedSeconds"`
}

func (c Counted) plus(o Counted) Counted {
	return Counted{
		New: plus(c.New, o.New), Kept: plus(c.Kept, o.Kept), Submission: plus(c.Submission, o.Submission), Admission: plus(c.Admission, o.Admission),
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
	Completed bool `json:"completed,omitempty"`
	// Restarts is how often the job had restarted at the start; nil if unknown.
	Restarts *int `json:"restarts,omitempty"`
	// Failed is true if the job has failed or restarted as a whole since then.
	Failed bool `json:"failed,omitempty"`
	// Steps are the steps until LastWatched that could end a container of the job.
	Steps      []string            `json:"steps,omitempty"`
	Containers []*WatchedContainer `json:"containers"`

	roles []failedRole // as last read
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
	// UsualPause is the longest pause in its output before the start; nil if unknown.
	UsualPause *time.Duration `json:"usualPause,omitempty"`

	Result WatchResult `json:"fate"`
	// Verdict and End are set if Result is Ended.
	Verdict Verdict           `json:"verdict,omitempty"`
	End     *pai.ContainerEnd `json:"interruption,omitempty"`

	lastAlive time.Time // when its machine last reported it alive
	pending   *pendingEnd
	// wasDeleted is true if its pod was deleted before it ended, so that it is not why
	// its job failed.
	wasDeleted bool
}

// WatchResult is the result of watching a container until now.
type WatchResult string

const (
	Running  WatchResult = "running"
	Finished WatchResult = "finished" // ended with success, or stopped by its user
	// Ended is every other end; its kind is the verdict. The paictl of v0.10 has no
	// verdicts and reads it as an interruption, which is the safe side.
	Ended WatchResult = "interrupted"
)

// baselineOf returns a baseline of all running jobs.
func baselineOf(pods []corev1.Pod, sets map[string]running.JobSet, at time.Time) *Baseline {
	b := &Baseline{Taken: at, LastWatched: at}
	for _, j := range running.Join(pods, sets) {
		if job := watchedJob(j); len(job.Containers) > 0 {
			if set, found := sets[running.Key(job.Namespace, job.Object)]; found {
				job.Restarts = &set.Restarts
			}
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

// lastSteps are the steps since the last baseline of an earlier witness. If that
// witness was killed, its step might have continued without it, and other steps
// might have started. A baseline of v0.10 does not say what its step can end.
func (b Baseline) lastSteps() []Step {
	if b.Stopped {
		return nil
	}
	return []Step{{ID: cmp.Or(b.Step, "an earlier run that was not watched to its end"), Everywhere: true}}
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
	b.Jobs, b.Boots, b.Steps = jobs, maps.Clone(b.Boots), slices.Clone(b.Steps)
	return b
}
