package inspect

import (
	"errors"
	"reflect"
	"time"

	"pai.dev/pai/internal/certs"
	"pai.dev/pai/internal/layout"
)

// A Part is a part of a Report. Only requested parts are filled.
type Part string

// The parts.
const (
	Programs Part = "programs"
	Roles    Part = "roles"
	Prepared Part = "prepared"
	Images   Part = "images"
	Facts    Part = "facts"
	Foreign  Part = "foreign"
	// DevicePlugin is a device plugin for GPUs that is not of PAI.
	DevicePlugin Part = "device-plugin"

	Directories Part = "directories"

	Containers  Part = "containers"
	Shims       Part = "shims"
	PausesOf    Part = "pauses" // has the part Containers, too
	Versions    Part = "versions"
	Runtime     Part = "runtime"
	HardwareOf  Part = "hardware"
	GPUsOf      Part = "gpus"
	ConditionOf Part = "condition"

	Certificates Part = "certificates"
	Backups      Part = "backups"  // those that the machine makes without an operator
	Operator     Part = "operator" // a certificate for the operator, on the control-plane machine
	Keyring      Part = "keyring"  // the keys that encrypt Secrets, on the control-plane machine
)

// Request is what to report.
type Request struct {
	// Token marks the answer. Nothing but the answer can contain it.
	Token string `json:"token"`
	Parts []Part `json:"parts"`
	// Only limits the part Roles to some roles. The part Versions then has the
	// programs of these roles; it comes after Roles.
	Only []layout.Role `json:"only,omitempty"`
	// Programs are the paths of further programs for the part Versions.
	Programs []string `json:"programs,omitempty"`
	// Ports are the ports whose listeners the part Condition reports.
	Ports []int `json:"ports,omitempty"`
	// Remove are the names of directories that the part Directories removes, unless
	// something uses them or PAI did not write them.
	Remove []string `json:"remove,omitempty"`
	// Age is how long ago the moment was that the part Pauses is about.
	Age time.Duration `json:"age,omitempty"`
	// Renew renews certificates before the part Certificates is reported: those that
	// are due, or all that PAI renews.
	Renew Renewal `json:"renew,omitempty"`
	// MakeBackupKey makes the key that signs backups before the part Backups is
	// reported, if the machine has none.
	MakeBackupKey bool `json:"makeBackupKey,omitempty"`
	// Key changes a key before the part Keyring is reported; nil for none.
	Key *KeyChange `json:"key,omitempty"`
	// Operator and PublicKey, in PEM, are what the part Operator signs.
	Operator  string `json:"operator,omitempty"`
	PublicKey []byte `json:"publicKey,omitempty"`
	// Delivered is true in the first request to a program that was just copied:
	// the program then removes older copies.
	Delivered bool `json:"delivered,omitempty"`
}

// Observes reports whether a request changes nothing on the machine, so that it needs no lock.
// It names the fields that only observe: one that is added needs the lock until it is named.
func (r Request) Observes() bool {
	return reflect.DeepEqual(r, Request{Token: r.Token, Parts: r.Parts, Only: r.Only, Programs: r.Programs, Ports: r.Ports,
		Age: r.Age, Operator: r.Operator, PublicKey: r.PublicKey})
}

// Renewal says which certificates are renewed.
type Renewal string

// The renewals; empty for none.
const (
	RenewDue Renewal = "due"
	RenewAll Renewal = "all"
)

// Report is what a machine is and has. What could not be read is absent and has
// a reason in Problems: an absent value never looks like a fact.
type Report struct {
	// Program is the sha256 of the program that made the report.
	Program string `json:"program"`
	// Problems has the reason for each absent value, by a part or by a part and
	// the name of the value: "roles", "programs /opt/pai/v0.9-pai/bin/runc".
	Problems map[string]string `json:"problems,omitempty"`

	// Programs has the sha256 of each program of a version, by the name of the
	// version's directory and the path in it ("bin/runc"). A version whose copy
	// is incomplete is absent.
	Programs map[string]map[string]string `json:"programs,omitempty"`
	// Roles has the roles that have a link or a unit.
	Roles    map[layout.Role]Role `json:"roles,omitempty"`
	Prepared *Preparation         `json:"prepared,omitempty"`
	Images   *ImageStore          `json:"images,omitempty"`
	Facts    *MachineFacts        `json:"facts,omitempty"`
	// Foreign are the paths in directories of PAI that PAI did not write.
	Foreign []string `json:"foreign,omitempty"`
	// DevicePlugin is the socket of a device plugin for GPUs that is not of PAI.
	DevicePlugin string `json:"devicePlugin,omitempty"`
	// Directories are those in layout.ProgramsDir, as they were before the removal.
	Directories []Directory `json:"directories,omitempty"`
	Removed     []string    `json:"removed,omitempty"` // names of removed directories

	Activity *Activity `json:"activity,omitempty"`
	// Shims has the answers of the shims of all running containers and sandboxes.
	Shims []Shim `json:"shims,omitempty"`
	// Pauses has the running containers of jobs, by ID.
	Pauses map[string]Pauses `json:"pauses,omitempty"`
	// Versions is what programs print as their version, by path.
	Versions  map[string]string `json:"versions,omitempty"`
	RuntimeUp *bool             `json:"runtimeUp,omitempty"` // containerd is responding
	Hardware  *Hardware         `json:"hardware,omitempty"`
	GPUs      *GPUs             `json:"gpus,omitempty"`
	Condition *Condition        `json:"condition,omitempty"`
	// Certificates are those of the machine. A file that could not be read, and a
	// renewal that failed, have a problem.
	Certificates []certs.Certificate `json:"certificates,omitempty"`
	Renewed      []string            `json:"renewed,omitempty"` // files
	// Backups are those that the machine makes without an operator.
	Backups *BackupState `json:"backups,omitempty"`
	// Keyring are the names of the keys that encrypt Secrets.
	Keyring *Keys `json:"keyring,omitempty"`
	// Issued is a kubeconfig with the certificate of the operator, without a key.
	Issued []byte `json:"issued,omitempty"`
}

// Problem returns the reason for an absent part; empty if there is none.
func (r Report) Problem(p Part) string { return r.Problems[string(p)] }

// ErrorOf is the reason for an absent part as an error, or nil.
func (r Report) ErrorOf(p Part) error {
	if problem := r.Problem(p); problem != "" {
		return errors.New(problem)
	}
	return nil
}

// errNoPart: the report has neither the part nor a reason for its absence.
var errNoPart = errors.New("the answer lacks it")

// Needs returns an error if the report lacks a part. The parts that are maps or lists
// can be empty.
func (r Report) Needs(p Part) error {
	absent := false
	switch p {
	case Prepared:
		absent = r.Prepared == nil
	case Images:
		absent = r.Images == nil
	case Facts:
		absent = r.Facts == nil
	case Containers, PausesOf:
		absent = r.Activity == nil
	case Runtime:
		absent = r.RuntimeUp == nil
	case HardwareOf:
		absent = r.Hardware == nil
	case GPUsOf:
		absent = r.GPUs == nil
	case ConditionOf:
		absent = r.Condition == nil
	case Backups:
		absent = r.Backups == nil
	case Operator:
		absent = len(r.Issued) == 0
	case Keyring:
		absent = r.Keyring == nil
	case Programs, Roles, Foreign, DevicePlugin, Directories, Shims, Versions, Certificates:
	}
	if err := r.ErrorOf(p); err != nil || !absent {
		return err
	}
	return errNoPart
}

// ProblemOf is the reason for an absent value of a part as an error, or nil.
func (r Report) ProblemOf(p Part, value string) error {
	if problem := r.Problems[string(p)+" "+value]; problem != "" {
		return errors.New(problem)
	}
	return nil
}

// Role is a role on a machine. A digest is empty if there is nothing to digest,
// or if it is unknown; then it has a problem.
type Role struct {
	Link string `json:"link,omitempty"` // base name of the directory that the link of the role names

	Active      bool   `json:"active,omitempty"`      // the unit is active
	PID         int    `json:"pid,omitempty"`         // of the unit's main process
	NeedsReload bool   `json:"needsReload,omitempty"` // the unit file changed after systemd read it
	KillMode    string `json:"killMode,omitempty"`    // of the unit, as systemd knows it

	// Program is the path of the running program, with " (deleted)" if its file
	// was removed, and ProgramDigest its sha256.
	Program       string `json:"program,omitempty"`
	ProgramDigest string `json:"programDigest,omitempty"`
	// Programs is the digest of the programs of the role: of the running one, and
	// of the others in the directory that the link names. See package fingerprint.
	Programs string `json:"programs,omitempty"`
	// Emulates is the minor version that the program behaves as, or that it will
	// behave as when it starts.
	Emulates string `json:"emulates,omitempty"`
	// Elects is set if the program works only while it is the leader of all machines, or
	// will when it starts.
	Elects bool `json:"elects,omitempty"`

	// Settings is the digest of the settings that the running process was
	// started with, as its environment has it. DiskSettings is the digest of the
	// settings that the role would start with now. See package fingerprint.
	Settings     string `json:"settings,omitempty"`
	DiskSettings string `json:"diskSettings,omitempty"`
	// DiskMarked: the process that starts now has the variable of the settings.
	DiskMarked bool `json:"diskMarked,omitempty"`
}

// Preparation is what the preparation of a machine left there.
type Preparation struct {
	PrepareActive  bool `json:"prepareActive"`  // the prepare script ran since the boot
	ShutdownActive bool `json:"shutdownActive"` // the shutdown script will run
	// CertificatesActive: certificates are renewed when they are due.
	CertificatesActive bool `json:"certificatesActive"`
	// CertificatesOutdated: another program renews certificates than their unit names.
	CertificatesOutdated bool `json:"certificatesOutdated,omitempty"`
	// NeedsReload are the units of PAI whose files changed after systemd read them.
	NeedsReload []string `json:"needsReload,omitempty"`
	// Files has the sha256 of the prepare and shutdown scripts and of the units of
	// PAI, by path; without those that do not exist.
	Files map[string]string `json:"files,omitempty"`
	// Hosts is the sha256 of the lines of /etc/hosts that end in "# pai", each with
	// its line feed; empty if there are none.
	Hosts string `json:"hosts,omitempty"`
	// Joined: the kubelet has its identity in the cluster, and the certificate that
	// it serves with.
	Joined bool `json:"joined"`
	// IdentityEnded: the kubelet has an identity that has ended, so it is not joined.
	IdentityEnded bool `json:"identityEnded,omitempty"`
}

// ImageStore is what was imported and what is there.
type ImageStore struct {
	// Records has the images that came from a bundle, by the name of the record:
	// image → digest.
	Records map[string]map[string]string `json:"records,omitempty"`
	// Images are the images of containerd with their digests. They are absent, with
	// a problem, if containerd is not responding.
	Images map[string]string `json:"images,omitempty"`
}

// MachineFacts are what the settings of a machine depend on.
type MachineFacts struct {
	CgroupV1 bool `json:"cgroupV1"`
	// OOMRestricted: the machine cannot lower the OOM score of a process,
	// because it lacks CAP_SYS_RESOURCE, and the runtime must not try.
	OOMRestricted bool `json:"oomRestricted"`
	// Resolver: the machine has a resolver that pods can use.
	Resolver bool `json:"resolver"`
	// Overlay: the directory of containerd is on an overlay, where overlayfs does
	// not work.
	Overlay bool `json:"overlay"`
	// MemoryMiB is the memory of the machine.
	MemoryMiB int `json:"memoryMiB"`
	Cores     int `json:"cores"`
}
