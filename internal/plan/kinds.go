package plan

import (
	"cmp"
	"maps"
	"slices"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/release"
)

// Kind names the Doer that does a step.
type Kind string

// The step kinds. What each one needs and changes is in the table kinds.
const (
	KindPrepare  Kind = "machine-prepare"  // directories, kernel settings, host names, unit files
	KindPrograms Kind = "machine-programs" // the programs of one Kubernetes version
	KindImages   Kind = "machine-images"   // the images of one bundle, imported and pinned
	KindRole     Kind = "machine-role"     // the link of one role moved and its unit running from it
	KindKubelet  Kind = "machine-kubelet"  // kubelet joined, or replaced in place
	KindLabels   Kind = "machine-labels"   // the machine-sku on the node, which jobs choose machines by
	// KindRemoveRole removes a role that a machine does not need, or that the version does
	// not have: its unit, its link, and what it wrote for others.
	KindRemoveRole Kind = "machine-role-remove"
	KindUncordon   Kind = "machine-uncordon" // a cordon of PAI removed
	KindCordon     Kind = "machine-cordon"   // no new job starts on a machine, for its maintenance
	KindDrain      Kind = "machine-drain"    // no job is left on a machine
	// KindStopServing stops the API server, the controllers, and etcd of one of several
	// control-plane machines, for its maintenance.
	KindStopServing Kind = "machine-control-plane-stop"
	// KindMaintenance records that a machine is in maintenance. The pods of PAI services
	// leave it first.
	KindMaintenance Kind = "machine-maintenance"
	// KindReturn removes the record of a maintenance and its cordon.
	KindReturn Kind = "machine-return"
	// KindDNSAway lets no pod of CoreDNS start on a machine in maintenance. KindDNSBack makes
	// CoreDNS what its release has once the machine is back. Neither waits for its pods: they
	// could be on a machine that is off.
	KindDNSAway Kind = "machine-dns-away"
	KindDNSBack Kind = "machine-dns-back"
	// KindLayout takes a machine out of the layout, as a revision of the configuration.
	// KindRemoveNode then removes what the cluster has of the machine, its node last.
	KindLayout     Kind = "machine-layout"
	KindRemoveNode Kind = "machine-node-remove"
	KindClean      Kind = "machine-clean" // Kubernetes removed from one machine
	KindPKI        Kind = "cluster-pki"   // certificates, kubeconfigs, encryption key
	// KindRemoveVoter removes the member of etcd of a machine that is lost.
	KindRemoveVoter Kind = "cluster-member-remove"
	// KindSharedKeys gives a control-plane machine the keys of another one, and certificates
	// for itself. KindVoters gives every learner of etcd its vote.
	KindSharedKeys Kind = "cluster-shared-keys"
	KindVoters     Kind = "cluster-voters"
	KindSnapshot   Kind = "cluster-snapshot"  // etcd snapshot, verified by restoring it
	KindEtcd       Kind = "cluster-etcd"      // etcd started, or handed over to the other slot
	KindAPIServer  Kind = "cluster-apiserver" // API server started, or handed over to the other slot
	KindBootstrap  Kind = "cluster-bootstrap" // what kubeadm keeps in the cluster, RBAC, the kubernetes endpoints
	KindDNS        Kind = "cluster-dns"       // CoreDNS
	KindCommit     Kind = "cluster-commit"    // a new control plane stops emulating the old minor: no rollback without a snapshot
	KindRestore    Kind = "cluster-restore"   // etcd as it was before a commit, and the older API server on it
	KindBackup     Kind = "cluster-backup"    // a verified backup of the control plane
	// KindBackupTimer makes the timer for backups that need no operator what the
	// configuration says, or removes it.
	KindBackupTimer Kind = "cluster-backup-timer"
	KindRecover     Kind = "cluster-recover"   // the keys, the records, and the etcd data of a backup on a new control plane
	KindReconcile   Kind = "cluster-reconcile" // the jobs of a restored etcd compared with the containers on the machines
	KindTokens      Kind = "cluster-tokens"    // the tokens of a restored etcd ended: one that was revoked since is not valid again
	KindAdmit       Kind = "machine-admit"     // a machine uses the API server of a restored control plane
	KindOpen        Kind = "cluster-open"      // every machine can use it: the restore is done
	KindRecord      Kind = "cluster-record"    // the Kubernetes version that the cluster runs, recorded in the API
	KindService     Kind = "service"           // one PAI service applied and ready
	KindRefresh     Kind = "service-refresh"   // one PAI service as the configuration has it, at its present version
	KindStop        Kind = "service-stop"      // one PAI service removed, its state kept
	KindDelete      Kind = "service-delete"    // one PAI service removed with its records
	KindVolume      Kind = "service-volume"    // the directory of a service's state deleted on every machine
	KindMigrate     Kind = "migrate"           // one thing that PAI stores, in the form of another release
	KindServices    Kind = "services-record"   // the version of the services, recorded in the API
	// KindKeyAdd, KindKeyUse, and KindKeyEncrypt rotate the key that encrypts Secrets: the API
	// server has it, encrypts with it, and has encrypted every Secret with it. KindKeyRemove
	// removes an older one.
	KindKeyAdd     Kind = "cluster-key-add"
	KindKeyUse     Kind = "cluster-key-use"
	KindKeyEncrypt Kind = "cluster-key-encrypt"
	KindKeyRemove  Kind = "cluster-key-remove"
	// KindConfiguration moves the operator's configuration to a newer schema
	// and names the target versions in it.
	KindConfiguration Kind = "configuration"
)

// Subject is what the target of a step names.
type Subject int

// The subjects of steps.
const (
	SubjectCluster       Subject = iota // the control plane or the cluster; the target is empty
	SubjectMachine                      // a machine
	SubjectService                      // a PAI service
	SubjectVolume                       // a directory below the volumes of PAI
	SubjectMigration                    // a migration of a release
	SubjectKey                          // a key that encrypts Secrets
	SubjectConfiguration                // "schema <n>", or the machine that leaves the layout
)

// source says which bundle the content of a step comes from.
type source int

const (
	sourceNone       source = iota
	sourceRelease           // the release that the step names
	sourceServices          // the newest release with these services
	sourceKubernetes        // the oldest release with this Kubernetes
)

// Traits is what depends on the kind of a step alone.
type Traits struct {
	Subject Subject
	// NeedsBundle is set if the step cannot be done without the bundle. A step
	// of another kind uses a bundle if this host has it.
	NeedsBundle bool
	// Roles are the roles whose programs the step replaces: both slots of a
	// role with two. A KindRole or KindRemoveRole step names its role.
	Roles []Role
	// OfService is set if the step changes a PAI service, so that its declared
	// job impact is that of the step.
	OfService bool
	// RollsPods is set if the step replaces pods, which need a machine to run on.
	RollsPods bool
	// StartsAPIServer is set if the step always starts an API server; see
	// Step.StartsAPIServer.
	StartsAPIServer bool
	// ControlPlane is set if the step changes etcd or an API server; see Step.TakesTurn.
	ControlPlane bool
	// DoMinutes limits the work, VerifyMinutes the time until its result is
	// observed; zero means the default of package run.
	DoMinutes, VerifyMinutes int

	source source
	// onWorld and onMachine are the expected effect of the step; onMachine gets
	// the machine that is its target.
	onWorld   func(w *World, s Step, in Input)
	onMachine func(m *MachineState, s Step, in Input)
}

// largeCopy is how many minutes gigabytes may take on a slow line, slowStart
// how many a program may take until it is ready.
const largeCopy, slowStart = 60, 5

// kinds is the one table of step kinds.
var kinds = map[Kind]Traits{
	KindPrepare:     {Subject: SubjectMachine, source: sourceKubernetes, onMachine: prepared},
	KindPrograms:    {Subject: SubjectMachine, source: sourceKubernetes, NeedsBundle: true, DoMinutes: largeCopy, onMachine: hasPrograms},
	KindImages:      {Subject: SubjectMachine, source: sourceRelease, NeedsBundle: true, DoMinutes: largeCopy, onMachine: hasImages},
	KindRole:        {Subject: SubjectMachine, source: sourceKubernetes, onMachine: movedRole},
	KindRemoveRole:  {Subject: SubjectMachine, onMachine: removedRole},
	KindKubelet:     {Subject: SubjectMachine, source: sourceKubernetes, Roles: []Role{RoleKubelet}, VerifyMinutes: slowStart, onMachine: joined},
	KindLabels:      {Subject: SubjectMachine, onMachine: labeled},
	KindUncordon:    {Subject: SubjectMachine, onMachine: uncordoned},
	KindCordon:      {Subject: SubjectMachine, onMachine: cordonedForMaintenance},
	KindDrain:       {Subject: SubjectMachine},
	KindStopServing: {Subject: SubjectMachine, ControlPlane: true, onMachine: stoppedServing},
	KindMaintenance: {Subject: SubjectMachine, VerifyMinutes: slowStart, onMachine: maintained},
	KindReturn:      {Subject: SubjectMachine, onMachine: returned},
	KindDNSAway:     {Subject: SubjectMachine},
	KindDNSBack:     {Subject: SubjectMachine, source: sourceKubernetes},
	KindLayout:      {Subject: SubjectConfiguration, onWorld: leftLayout},
	KindRemoveNode:  {Subject: SubjectMachine, onWorld: removedNode},
	KindClean:       {Subject: SubjectMachine, onMachine: cleaned},
	KindPKI:         {source: sourceKubernetes, onWorld: hasPKI},
	KindSharedKeys:  {Subject: SubjectMachine, source: sourceKubernetes},
	KindVoters:      {ControlPlane: true, onWorld: promoted},
	KindRemoveVoter: {Subject: SubjectMachine, ControlPlane: true, onWorld: removedVoter},
	KindSnapshot:    {source: sourceKubernetes},
	KindEtcd:        {source: sourceKubernetes, Roles: []Role{RoleEtcdA, RoleEtcdB}, ControlPlane: true, onWorld: movedEtcd},
	KindAPIServer:   {source: sourceKubernetes, Roles: []Role{RoleAPIServerA, RoleAPIServerB}, StartsAPIServer: true, ControlPlane: true, onWorld: movedAPIServer},
	KindBootstrap:   {source: sourceKubernetes, onWorld: bootstrapped},
	KindDNS:         {source: sourceKubernetes, RollsPods: true, VerifyMinutes: slowStart, onWorld: appliedDNS},
	KindCommit:      {source: sourceKubernetes, ControlPlane: true, onWorld: committedControlPlane},
	KindRestore:     {source: sourceKubernetes, StartsAPIServer: true, ControlPlane: true, onWorld: restored},
	KindBackup:      {DoMinutes: largeCopy},
	KindBackupTimer: {onWorld: hasBackupTimer},
	KindRecover:     {source: sourceKubernetes, DoMinutes: largeCopy},
	KindReconcile:   {source: sourceKubernetes},
	KindTokens:      {},
	KindAdmit:       {Subject: SubjectMachine, VerifyMinutes: slowStart},
	KindOpen:        {},
	KindRecord:      {source: sourceKubernetes, onWorld: func(w *World, s Step, _ Input) { w.Current.Kubernetes = s.To.Kubernetes() }},
	KindService:     {Subject: SubjectService, source: sourceServices, NeedsBundle: true, OfService: true, RollsPods: true, VerifyMinutes: slowStart, onWorld: installed},
	KindRefresh:     {Subject: SubjectService, source: sourceServices, NeedsBundle: true, OfService: true, RollsPods: true, VerifyMinutes: slowStart, onWorld: installed},
	KindStop:        {Subject: SubjectService, OfService: true, onWorld: removedService},
	KindDelete:      {Subject: SubjectService, OfService: true, onWorld: removedService},
	KindVolume:      {Subject: SubjectVolume},
	KindMigrate:     {Subject: SubjectMigration, onWorld: migrated},
	KindKeyAdd:      {Subject: SubjectKey},
	KindKeyUse:      {Subject: SubjectKey},
	KindKeyEncrypt:  {Subject: SubjectKey, DoMinutes: largeCopy},
	KindKeyRemove:   {Subject: SubjectKey},
	KindServices:    {onWorld: func(w *World, s Step, _ Input) { w.RecordedServices = s.To.Services() }},

	KindConfiguration: {Subject: SubjectConfiguration, onWorld: func(w *World, s Step, _ Input) { w.Schema = s.Schema }},
}

// Kinds lists all step kinds, sorted.
func Kinds() []Kind { return slices.Sorted(maps.Keys(kinds)) }

// Known reports whether this release has the step kind.
func (k Kind) Known() bool {
	_, known := kinds[k]
	return known
}

// Traits returns what depends on the kind; the zero value for an unknown one.
func (k Kind) Traits() Traits { return kinds[k] }

// NeedsBundle reports whether the step cannot be done without its bundle. The
// objects of a service that is rolled back are recorded in the cluster.
func (s Step) NeedsBundle() bool {
	return kinds[s.Kind].NeedsBundle && (s.Kind != KindService || !s.Back())
}

// BundleRelease names the release whose bundle a step takes its content from;
// it is empty if the step brings nothing.
func (s Step) BundleRelease(releases []release.Manifest) (pai.Release, error) {
	switch kinds[s.Kind].source {
	case sourceRelease:
		return s.To.Release(), nil
	case sourceServices:
		return WithServices(releases, s.To.Services()), nil
	case sourceKubernetes:
		for _, r := range releases {
			if r.Kubernetes.Version.Compare(s.To.Kubernetes()) == 0 {
				return r.Metadata.Name, nil
			}
		}
		return "", pai.Errorf(pai.CodeRefused, "to list the releases, run: paictl release list", "no release has Kubernetes %s", s.To)
	default:
		return "", nil
	}
}

// WithServices names the newest release that has a version of the services.
// If no known release has it, it returns the release of the same name.
func WithServices(releases []release.Manifest, services pai.ServicesVersion) pai.Release {
	best := pai.Release("")
	for _, r := range releases {
		if r.Services.Version.Compare(services) == 0 && best.Less(r.Metadata.Name) {
			best = r.Metadata.Name
		}
	}
	return cmp.Or(best, pai.Release(services))
}
