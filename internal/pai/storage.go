package pai

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
)

// The types of a storage.
const (
	StorageNFS       = "nfs"       // the machine of a task mounts it from a server
	StorageDirectory = "directory" // the operator mounted it at the same path of every machine
)

// Storage is data that tasks mount. Its JSON is the form in which the REST server and the
// chart of the service get it.
type Storage struct {
	Name   string `json:"name"`
	Type   string `json:"type"`             // StorageNFS or StorageDirectory
	Server string `json:"server,omitempty"` // host name or IPv4 address of an NFS server
	Path   string `json:"path"`             // on the server, or on the machines
	// Claim is the name of its PersistentVolumeClaim in the namespace of every virtual cluster.
	Claim    string `json:"claim"`
	ReadOnly bool   `json:"readOnly"`
	// PerUser gives each user a directory of the user's name, and no other one.
	PerUser bool `json:"perUser"`
	// Default storages are those of jobs that ask for storages without a name.
	Default bool `json:"default"`
	// Groups are those whose members can use it. Administrators, and groups with the right,
	// can use it as well.
	Groups []string `json:"groups"`
}

// ClaimName is the Claim of a storage. Another server, path, or access gives another name:
// Kubernetes does not change a volume, and a running job keeps the one that it has.
func (s Storage) ClaimName() string {
	source := strings.Join([]string{s.Type, s.Server, s.Path, strconv.FormatBool(s.ReadOnly)}, "\x00")
	sum := sha256.Sum256([]byte(source))
	return "storage-" + s.Name + "-" + hex.EncodeToString(sum[:5])
}

// MountOptions are those of an NFS storage. With soft instead of hard, the restart of a server
// would be an error in a job.
func (s Storage) MountOptions() []string {
	options := []string{"hard", "nosuid", "nodev"}
	if s.ReadOnly {
		options = append(options, "ro")
	}
	return options
}

// Volume is the name of the PersistentVolume of the storage in a virtual cluster.
func (s Storage) Volume(virtualCluster string) string {
	return VirtualClusterNamespacePrefix + virtualCluster + "-" + s.Claim
}

// Where is SERVER:PATH of an NFS storage, else PATH.
func (s Storage) Where() string {
	if s.Server == "" {
		return s.Path
	}
	return s.Server + ":" + s.Path
}
