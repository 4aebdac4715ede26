package pai

import "time"

// Restore is what the restore of an etcd snapshot did to the records of jobs. The
// journal has it before etcd is replaced.
type Restore struct {
	// Snapshot is the name of the snapshot, or of the backup.
	Snapshot string `json:"snapshot"`
	// Backup is true if the control plane was restored from a backup.
	Backup bool      `json:"backup,omitempty"`
	Taken  time.Time `json:"taken"`
	// TokensEnded is true if the tokens of the REST server were ended.
	TokensEnded bool `json:"tokensEnded,omitempty"`
	// Done is when the restored cluster was observed; zero if it was not.
	Done time.Time `json:"done,omitzero"`
	// Jobs are the jobs whose records changed since the snapshot.
	Jobs []RestoredJob `json:"jobs"`
	// Unknown is why Jobs can be incomplete.
	Unknown string `json:"unknown,omitempty"`
}

// RecordOutcome is what a restore did to the record of a job.
type RecordOutcome string

const (
	// RecordLost is the record of a job that was submitted after the snapshot.
	RecordLost RecordOutcome = "lost"
	// RecordEarlier is a record that is again as it was in the snapshot.
	RecordEarlier RecordOutcome = "earlier"
	// RecordKept is the record of a job that ended after the snapshot. PAI carries
	// it over, so that the job does not run again.
	RecordKept RecordOutcome = "kept"
	// RecordRemoved is a record that was removed after the snapshot. PAI removes it
	// again, so that the job does not run again.
	RecordRemoved RecordOutcome = "removed"
	// RecordSeen is the record of a job that is neither in the snapshot nor in the
	// cluster. An operation saw the job in between.
	RecordSeen RecordOutcome = "seen"
	// RecordHeld is the record of a job that had started when the backup was made, and
	// has no container left. A restore marks it as stopped, so that it does not run
	// again.
	RecordHeld RecordOutcome = "held"
)

// ContainersOutcome is what happened to the containers of a job in a restore.
type ContainersOutcome string

const (
	ContainersNone    ContainersOutcome = "none"    // none ran that the restore could end
	ContainersEnded   ContainersOutcome = "ended"   // they ended before the restore
	ContainersDeleted ContainersOutcome = "deleted" // the kubelet deleted them, because their pods no longer exist
	ContainersOrphan  ContainersOutcome = "orphan"  // at least one still ran when the operation ended
	ContainersUnknown ContainersOutcome = "unknown" // a machine could not be observed
)

// RestoredJob is one job of a Restore.
type RestoredJob struct {
	Job            string    `json:"job"` // user~name
	User           string    `json:"user"`
	VirtualCluster string    `json:"virtualCluster,omitempty"`
	Submitted      time.Time `json:"submitted,omitzero"`
	Ended          time.Time `json:"ended,omitzero"`
	// State is the last observed state of the job, as `job list` prints it; empty if
	// its record no longer existed.
	State  string        `json:"state,omitempty"`
	Record RecordOutcome `json:"record"`
	// Restored is the state in the snapshot; empty if the snapshot has no record.
	Restored   string            `json:"restored,omitempty"`
	Containers ContainersOutcome `json:"containers"`
	// Ran are the containers that the restore ends: the snapshot has no such pod.
	Ran []RanContainer `json:"ran,omitempty"`
	// SeenBy is the operation that saw the job, for RecordSeen.
	SeenBy string `json:"seenBy,omitempty"`
	// RunsAgain is why PAI cannot keep the job from running again.
	RunsAgain string `json:"runsAgain,omitempty"`
}

// RanContainer is a container that ran right before a restore.
type RanContainer struct {
	Pod     string `json:"pod"`
	Name    string `json:"name"`
	Machine string `json:"machine"`
	ID      string `json:"id"`
}
