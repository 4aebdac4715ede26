package job

import "time"

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
	// MaxPorts is how many ports each task of a role can reserve.
	MaxPorts = 1000
	// MaxEnvironment is the size of the addresses and ports of all tasks, in bytes. Each
	// program of a task gets them; Linux starts none with more than 2 MiB.
	MaxEnvironment = 1 << 20
	// MinMemoryMB leaves what a container needs to start: with 1 MB, the runtime is
	// killed before the task begins. The number is a choice, not a measured limit.
	MinMemoryMB = 16
	// maxTimeLimit is a year.
	maxTimeLimit = 366 * 24 * time.Hour
	maxProblems  = 100 // in one report
)

// Spec is a job as its user described it, in job protocol v2, rendered: what
// `<% … %>` referred to is filled in.
type Spec struct {
	Name           string
	VirtualCluster string // empty: the default one
	RetryCount     int    // how often the whole job is restarted after it failed
	Priority       string // crit, prod, test, or oppo; empty: none was asked for
	// TimeLimit ends a run of the job that takes longer; 0: no limit.
	TimeLimit time.Duration
	// Gang is false if the tasks do not wait for one another.
	Gang        bool
	TaskRoles   []TaskRole
	Registries  []Registry
	SSH         *SSH
	TensorBoard *TensorBoard
	// Mounts are the storages of the job. One without Mount.Storage is not mounted: who
	// submits the job refuses it.
	Mounts []Mount
	// Effects are the parts of the job that ask for more than tasks, and what each does.
	Effects []Effect
	// Containment is not part of the protocol: the operator sets it.
	Containment Containment
	// SSHKey is not part of the protocol: the caller makes a pair if NeedsKey.
	SSHKey KeyPair

	masked []byte // its text without secrets; nil if it has none
}

// Effect is a part of a job and what it does here.
type Effect struct {
	Path   string `json:"path"`
	Effect string `json:"effect"`
}

// TaskRole is one kind of task. Its instances run in a container each.
type TaskRole struct {
	Name       string
	Instances  int
	RetryCount int // how often one task is restarted after it failed
	// MinFailed is how many tasks must fail for the whole job to fail, or NeverDecides.
	MinFailed int
	// MinSucceeded is how many tasks must succeed for the whole job to succeed,
	// or NeverDecides.
	MinSucceeded int
	Image        string
	CPUMilli     int64 // thousandths of a core
	MemoryMB     int64
	GPU          int64
	// Kind is the machine-sku of the machines that the tasks run on; empty: any.
	Kind  string
	ShmMB int64  // 0: the container runtime's default
	Ports []Port // each task has them
	// Before run as a script before the commands, and After as one after they succeeded.
	Before, After []Step
	Commands      []string
	// Secret reports that the commands have the value of a secret.
	Secret bool
}

// Port is a name for ports that each task of a role has for itself.
type Port struct {
	Name         string
	First, Count int
}

// Registry has the credentials for a registry of images.
type Registry struct{ Address, User, Password string }

// SSH is an ssh server in tasks.
type SSH struct {
	Roles []string // empty: all
	// Job lets the tasks of the job log in to one another.
	Job bool
	// Keys are public keys that can log in.
	Keys []string
	// Barrier is how long a task waits until it can log in to all others; 0: it does not.
	Barrier time.Duration
}

// TensorBoard runs in the first task of the job.
type TensorBoard struct {
	Port int
	Logs []string // name:directory
}

// KeyPair is a key for ssh in the format of OpenSSH.
type KeyPair struct{ Private, Public string }

// NeverDecides is a TaskRole.MinSucceeded: the job keeps running after all tasks
// of the role have succeeded, and succeeds after those of all such roles have. As a
// TaskRole.MinFailed, no number of failed tasks fails the job.
const NeverDecides = -1

// NeedsKey reports whether SSHKey has to be set.
func (j *Spec) NeedsKey() bool { return j.SSH != nil && j.SSH.Job }

// tasks is the number of tasks of all roles.
func (j *Spec) tasks() (n int) {
	for _, r := range j.TaskRoles {
		n += r.Instances
	}
	return n
}
