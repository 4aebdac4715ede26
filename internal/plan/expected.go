package plan

import (
	"cmp"
	"slices"

	"pai.dev/pai/internal/pai"
)

// Expected is what a machine has if it runs what the releases say, by digest.
// What is not known on this host is empty, and then the names of versions
// decide.
type Expected struct {
	// Prepared is the digest of the files that the machine is prepared with.
	Prepared string
	// Versions has an entry for each Kubernetes version that the plan can lead to.
	Versions map[pai.KubernetesVersion]ExpectedVersion
}

// ExpectedVersion is what a Kubernetes version consists of on a machine.
type ExpectedVersion struct {
	// Programs is the digest of all programs that the machine gets.
	Programs string
	// Build names the build: the digest of all programs of the version, the same
	// on every machine.
	Build string
	Roles map[Role]Digests
	// Reserves is set if the kubelet that runs has other reservations than the
	// version sets. A kubelet keeps them when it is replaced.
	Reserves bool
}

// Manifests are the digests of the objects that the cluster itself needs, as they
// were applied last or as a version has them. Each is empty where it is unknown.
type Manifests struct {
	Bootstrap string `json:"bootstrap,omitempty"`
	DNS       string `json:"dns,omitempty"`
}

// of is what is expected of a version on the machine.
func (e Expected) of(v pai.KubernetesVersion) ExpectedVersion { return e.Versions[v.Label()] }

// What can differ in a target whose version is right; see Step.
const (
	DiffersPrograms = "programs"
	DiffersSettings = "settings" // flags, configuration files, and unit
	DiffersFiles    = "files"    // of a prepared machine
	// DiffersReservations is what a kubelet keeps from pods. It changes only while no
	// job runs on the machine.
	DiffersReservations = "reservations"
)

// differences names what differs between what a role is made of and what it
// should be made of. A digest that could not be read differs.
func (d Digests) differences(want Digests) []string {
	var names []string
	if want.Programs != "" && d.Programs != want.Programs {
		names = append(names, DiffersPrograms)
	}
	if want.Settings != "" && d.Settings != want.Settings {
		names = append(names, DiffersSettings)
	}
	return names
}

// Matches reports whether what a role is made of is what it should be made of, as
// far as that is known.
func (d Digests) Matches(want Digests) bool { return len(d.differences(want)) == 0 }

// Directory names the directory of a version's programs on the machine. Other
// programs under the same version get another directory, because running
// containers use the one that is there.
func (m MachineState) Directory(v pai.KubernetesVersion, e Expected) pai.KubernetesVersion {
	label, builds, want := v.Label(), m.builds(v), e.of(v).Programs
	if want == "" {
		return m.linked(label, builds)
	}
	for _, p := range builds {
		if m.ProgramDigests[p] == want {
			return p
		}
	}
	if slices.Contains(builds, label) {
		return label.Build(cmp.Or(e.of(v).Build, want))
	}
	return label
}

// builds lists the directories of a version that the machine has.
func (m MachineState) builds(v pai.KubernetesVersion) []pai.KubernetesVersion {
	return slices.DeleteFunc(slices.Clone(m.Programs), func(p pai.KubernetesVersion) bool { return p.Label() != v.Label() })
}

// linked is the build of a version that a role of the machine is linked to. It is
// the version itself if there is none.
func (m MachineState) linked(label pai.KubernetesVersion, builds []pai.KubernetesVersion) pai.KubernetesVersion {
	for _, p := range slices.Backward(slices.Sorted(slices.Values(builds))) {
		for _, s := range m.Roles {
			if s.Link == p {
				return p
			}
		}
	}
	return label
}
