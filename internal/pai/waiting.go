package pai

import "time"

// UpgradeTarget is the target of an operation, so that the operation can be resumed.
type UpgradeTarget struct {
	Release Release `json:"release"`
	// Part is "kubernetes" or "services" if only that part is upgraded or rolled back.
	Part string `json:"part,omitempty"`
	// Machine is the machine of an operation on one machine.
	Machine string `json:"machine,omitempty"`
}

// The parts of an UpgradeTarget.
const (
	PartKubernetes = "kubernetes"
	PartServices   = "services"
)

// Waiting is a machine that an operation did not change: a step cannot be done
// there while jobs run.
type Waiting struct {
	Machine string `json:"machine"`
	Step    string `json:"step"` // the ID of the first of its steps that waits
	// Kind, Role, and To describe that step: its kind, the role that it moves,
	// and the version that it leads to. Entries of v0.10 and older lack them.
	Kind   string     `json:"kind,omitempty"`
	Role   string     `json:"role,omitempty"`
	To     AnyVersion `json:"to,omitempty"`
	Jobs   []JobRef   `json:"jobs"` // the jobs that ran there when the guard last checked
	Reason string     `json:"reason"`
	Since  time.Time  `json:"since"`
}

// Cordon is a machine that PAI cordoned.
type Cordon struct {
	Machine string    `json:"machine"`
	At      time.Time `json:"at"`
}

// Evicted lists the jobs that PAI evicted from a machine with an accepted risk.
type Evicted struct {
	Machine string    `json:"machine"`
	Jobs    []JobRef  `json:"jobs"`
	At      time.Time `json:"at"`
}

// CordonedBy reports whether an operation recorded that it cordoned a machine.
func (o Operation) CordonedBy(machine string) bool {
	for _, c := range o.Cordoned {
		if c.Machine == machine {
			return true
		}
	}
	return false
}

// Unfinished reports whether an operation has not reached its goal: it runs,
// was killed, was stopped, failed, or has waiting machines.
func (o Operation) Unfinished() bool { return o.ID != "" && o.Outcome != OutcomeSucceeded }
