package job

// Limits of a job.
const (
	MaxSize  = 128 << 10 // bytes of a job's YAML
	MaxDepth = 16        // nested levels
	// MaxTaskRoles is how many pod sets Kueue v0.15 admits together. Newer ones
	// admit more, but a rollback must not leave a job that it cannot read.
	MaxTaskRoles = 8
	MaxInstances = 1000 // per task role; four digits in a pod's name would not fit the name rule
	// MaxScript is the size in bytes of the commands of a task role with their
	// references filled in. One argument of a program on Linux has no more, and a
	// command can consist of one.
	MaxScript = 128<<10 - 1
	// MaxScripts is the size of the commands of all task roles. With the text of the
	// job, they are in one object, which can have 1 MiB.
	MaxScripts = 768 << 10
	// MaxStored is the size of all objects of a job, also of its tasks, in bytes.
	MaxStored = 32 << 20
	// MinMemoryMB leaves what a container needs to start: with 1 MB, the runtime is
	// killed before the task begins. The number is a choice, not a measured limit.
	MinMemoryMB = 16
	maxProblems = 100 // in one report
)

// Spec is a job as its user described it, in job protocol v2, rendered: what
// `<% … %>` referred to is filled in.
type Spec struct {
	Name           string
	VirtualCluster string // empty: the default one
	RetryCount     int    // how often the whole job is restarted after it failed
	TaskRoles      []TaskRole
	// Containment is not part of the protocol: the operator sets it.
	Containment Containment
}

// TaskRole is one kind of task. Its instances run in a container each.
type TaskRole struct {
	Name       string
	Instances  int
	RetryCount int // how often one task is restarted after it failed
	// MinSucceeded is how many tasks must succeed for the whole job to succeed,
	// or NeverDecides.
	MinSucceeded int
	Image        string
	CPUMilli     int64 // thousandths of a core
	MemoryMB     int64
	GPU          int64
	ShmMB        int64 // 0: the container runtime's default
	Commands     []string
}

// NeverDecides is a TaskRole.MinSucceeded: the job keeps running after all tasks
// of the role have succeeded, and succeeds after those of all such roles have.
const NeverDecides = -1
