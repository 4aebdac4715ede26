package pai

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// Release names a release of PAI: "v0.10". Releases compare by number, so
// v0.9 < v0.10. The zero value means "none", here and in the types below.
type Release string

// ServicesVersion is a version of the PAI services: "v0.10".
type ServicesVersion string

// KubernetesVersion is the name that PAI gives to a Kubernetes which it packs:
// "v0.10-pai". The suffix does not matter when versions are compared. On a
// machine with programs of another build of that version, the name has the
// build: "v0.10-pai+1f0c5d7a9b2e".
type KubernetesVersion string

// Label is the version without its build.
func (v KubernetesVersion) Label() KubernetesVersion {
	label, _, _ := strings.Cut(string(v), "+")
	return KubernetesVersion(label)
}

// buildLength is how many hex digits of a digest name a build.
const buildLength = 12

// Build is the version with the build of a digest in hex.
func (v KubernetesVersion) Build(digest string) KubernetesVersion {
	return v.Label() + "+" + KubernetesVersion(digest[:min(len(digest), buildLength)])
}

// AnyVersion is a version of the part that a step or a hop moves. Its kind says
// which part that is, and so which of the three conversions is right.
type AnyVersion string

// Release converts v, the version of a step that imports images.
func (v AnyVersion) Release() Release { return Release(v) }

// Services converts v, the version of a step or hop of the services.
func (v AnyVersion) Services() ServicesVersion { return ServicesVersion(v) }

// Kubernetes converts v, the version of a step or hop of Kubernetes.
func (v AnyVersion) Kubernetes() KubernetesVersion { return KubernetesVersion(v) }

// Compare is negative when r is older than s, zero when both are the same
// release, positive when r is newer.
func (r Release) Compare(s Release) int { return CompareVersions(r, s) }

// Less reports whether r is older than s.
func (r Release) Less(s Release) bool { return CompareVersions(r, s) < 0 }

// AtLeast reports whether r is s or newer.
func (r Release) AtLeast(s Release) bool { return CompareVersions(r, s) >= 0 }

// Compare is negative when v is older than w, zero when both are the same
// version, positive when v is newer.
func (v ServicesVersion) Compare(w ServicesVersion) int { return CompareVersions(v, w) }

// Less reports whether v is older than w.
func (v ServicesVersion) Less(w ServicesVersion) bool { return CompareVersions(v, w) < 0 }

// AtLeast reports whether v is w or newer.
func (v ServicesVersion) AtLeast(w ServicesVersion) bool { return CompareVersions(v, w) >= 0 }

// Compare is negative when v is older than w, zero when both are the same
// version, positive when v is newer.
func (v KubernetesVersion) Compare(w KubernetesVersion) int { return CompareVersions(v, w) }

// Less reports whether v is older than w.
func (v KubernetesVersion) Less(w KubernetesVersion) bool { return CompareVersions(v, w) < 0 }

// AtLeast reports whether v is w or newer.
func (v KubernetesVersion) AtLeast(w KubernetesVersion) bool { return CompareVersions(v, w) >= 0 }

// CompareVersions is the one comparison of versions: by number, without the
// suffix. A version that does not parse is older than every version that does.
func CompareVersions[V ~string](v, w V) int {
	a, errA := numbers(string(v))
	b, errB := numbers(string(w))
	if errA != nil || errB != nil {
		return cmp.Compare(boolInt(errA == nil), boolInt(errB == nil))
	}
	for i := range a {
		if c := cmp.Compare(a[i], b[i]); c != 0 {
			return c
		}
	}
	return 0
}

// Canonical is the one spelling of a version, without a patch of 0: "v0.10" for
// "v0.10.0". Files, directories, and labels are named after versions, so releases
// are only spelled like this. What is no version stays as it is.
func Canonical[V ~string](v V) V {
	if _, err := numbers(string(v)); err != nil {
		return v
	}
	label, build, built := strings.Cut(string(v), "+")
	core, suffixed := strings.CutSuffix(label, "-pai")
	if strings.Count(core, ".") == 2 {
		core = strings.TrimSuffix(core, ".0")
	}
	if suffixed {
		core += "-pai"
	}
	if built {
		core += "+" + build
	}
	return V(core)
}

// CheckVersion returns nil for vMAJOR.MINOR[.PATCH][-pai].
func CheckVersion[V ~string](v V) error {
	if strings.Contains(string(v), "+") {
		return fmt.Errorf("version %q names a build, which only machines have", v)
	}
	_, err := numbers(string(v))
	return err
}

func numbers(s string) ([3]int, error) {
	var n [3]int
	label, _, _ := strings.Cut(s, "+")
	core, _ := strings.CutSuffix(label, "-pai")
	digits, ok := strings.CutPrefix(core, "v")
	parts := strings.Split(digits, ".")
	if !ok || len(parts) < 2 || len(parts) > 3 {
		return n, fmt.Errorf("version %q is not of the form vMAJOR.MINOR[.PATCH][-pai]", s)
	}
	for i, p := range parts {
		x, err := strconv.Atoi(p)
		if err != nil || x < 0 || p != strconv.Itoa(x) {
			return n, fmt.Errorf("version %q is not of the form vMAJOR.MINOR[.PATCH][-pai]", s)
		}
		n[i] = x
	}
	return n, nil
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Pair is a state of the support plan: services on a Kubernetes.
type Pair struct {
	Services   ServicesVersion   `json:"services"`
	Kubernetes KubernetesVersion `json:"kubernetes"`
}

func (p Pair) String() string {
	return fmt.Sprintf("services %s on Kubernetes %s", p.Services, p.Kubernetes)
}
