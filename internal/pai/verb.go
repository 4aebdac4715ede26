package pai

// Verb is what an operation does. The journal, saved plans and the lock store
// it. A verb that this release does not know is read and printed as it is.
type Verb string

// The verbs of operations.
const (
	VerbBoot           Verb = "k8s-bootup"
	VerbClean          Verb = "k8s-clean"
	VerbStartServices  Verb = "service-start"
	VerbStopServices   Verb = "service-stop"
	VerbRefresh        Verb = "service-refresh"
	VerbDeleteService  Verb = "service-delete"
	VerbUpgrade        Verb = "upgrade"
	VerbStage          Verb = "upgrade-stage"
	VerbAbandon        Verb = "upgrade-abandon"
	VerbRollback       Verb = "rollback"
	VerbBackup         Verb = "cluster-backup"
	VerbRestore        Verb = "cluster-restore"
	VerbMaintain       Verb = "machine-maintain"
	VerbReturn         Verb = "machine-return"
	VerbRemove         Verb = "machine-remove"
	VerbReplace        Verb = "machine-replace"
	VerbRotateKey      Verb = "cluster-keys-rotate"
	VerbRemoveKey      Verb = "cluster-keys-remove"
	VerbPushConfig     Verb = "config push"     // holds the lock, has no journal entry
	VerbRollbackConfig Verb = "config rollback" // holds the lock, has no journal entry
	// VerbScheduledBackup is a backup that the control-plane machine makes without an
	// operator. It holds the lock, has no journal entry, and ends by itself.
	VerbScheduledBackup Verb = "scheduled backup"
	VerbPruneMachines   Verb = "machine prune" // holds the lock, has no journal entry

	VerbRenewCertificates Verb = "cluster certificates" // holds the lock, has no journal entry
	VerbShowStatus        Verb = "upgrade-status"       // reads the lock, has no journal entry
	VerbCheck             Verb = "check"                // reads the lock, has no journal entry
)

// UpgradeVerbs are the verbs that the upgrade history lists.
func UpgradeVerbs() []Verb {
	return []Verb{VerbUpgrade, VerbStage, VerbAbandon, VerbRollback}
}

// SupersedesUpgrade reports whether an unfinished upgrade can no longer be
// resumed after this verb succeeds, for a reason other than being abandoned.
func (v Verb) SupersedesUpgrade() bool {
	return v == VerbRollback || v == VerbClean || v == VerbRestore
}

// MovesForward reports whether the verb can install newer versions, so that a
// rollback can undo it.
func (v Verb) MovesForward() bool {
	return v == VerbUpgrade || v == VerbBoot || v == VerbStartServices
}

// LeavesNothingPartial reports whether an unfinished operation of this verb
// needs no resume: what it copied counts only once it is complete, a machine that it
// cordoned stays a machine of the cluster, one that returns or is removed stays in
// maintenance until the last step, and a new encryption key changes nothing but Secrets.
func (v Verb) LeavesNothingPartial() bool {
	return v == VerbStage || v == VerbBackup || v == VerbMaintain || v == VerbReturn || v == VerbRemove || v == VerbRotateKey || v == VerbRemoveKey
}

// ChangesServicesOnly reports whether an operation of this verb leaves the machines
// and Kubernetes as they are, so that an unfinished upgrade stays as it was.
func (v Verb) ChangesServicesOnly() bool {
	return v == VerbStartServices || v == VerbStopServices || v == VerbRefresh || v == VerbDeleteService
}
