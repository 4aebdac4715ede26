package plan

import (
	"slices"

	"pai.dev/pai/internal/pai"
)

// How the backups that a machine makes without an operator can differ from the
// configuration.
const (
	TimerMissing    = "timer"      // it does not exist, or does not run
	TimerSettings   = "settings"   // other settings, or another program
	TimerPermission = "permission" // the operator has not permitted the key of the machine
	TimerUnneeded   = "unneeded"   // the configuration has no backups
	TimerUnknown    = "unknown"    // it could not be observed
)

// backupTimer adds the step that makes the timer for backups what the configuration
// says. The machine refuses to make one while the cluster is between two versions, so a
// rollback leaves the timer as it is: it works with the older version as well.
func (k *kubernetes) backupTimer(after ...StepID) {
	i := slices.IndexFunc(k.controlPlanes, func(m MachineState) bool { return m.BackupTimer != "" })
	if i < 0 || k.o.Only != nil {
		return
	}
	k.graph.add(true, Step{ID: k.cluster("backup-timer"), Kind: KindBackupTimer, To: pai.AnyVersion(k.to), Risk: pai.RiskNone,
		Differs: []string{k.controlPlanes[i].BackupTimer}}, after...)
}
