package job

// Limits of a job.
const (
	MaxSize      = 128 << 10 // bytes of a job's YAML; it is kept in an annotation, and annotations share 256 KiB
	MaxDepth     = 16        // nested levels
	MaxTaskRoles = 32
	MaxInstances = 1000 // per task role; four digits in a pod's name would not fit the name rule
	maxProblems  = 100  // in one report
)

// Spec is a job as its user described it, in job protocol v2, rendered: what
// `<% … %>` referred to is filled in.
type Spec struct {
	Name           string
	VirtualCluster string // empty: the default one
	RetryCount     int    // how often the whole job is restarted after it failed
	TaskRoles      []TaskRole
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
