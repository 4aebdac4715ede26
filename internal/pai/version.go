package pai

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// Version is a version of PAI's own: of the services ("v0.10") or of the
// Kubernetes that PAI packs ("v0.10-pai"). Versions compare by number, so
// v0.9 < v0.10, and the suffix does not matter. The zero Version means "none".
type Version string

// ParseVersion accepts vMAJOR.MINOR[.PATCH][-pai].
func ParseVersion(s string) (Version, error) {
	if _, err := Version(s).numbers(); err != nil {
		return "", err
	}
	return Version(s), nil
}

func (v Version) numbers() ([3]int, error) {
	var n [3]int
	core, _ := strings.CutSuffix(string(v), "-pai")
	digits, ok := strings.CutPrefix(core, "v")
	parts := strings.Split(digits, ".")
	if !ok || len(parts) < 2 || len(parts) > 3 {
		return n, fmt.Errorf("version %q is not of the form vMAJOR.MINOR[.PATCH][-pai]", string(v))
	}
	for i, p := range parts {
		x, err := strconv.Atoi(p)
		if err != nil || x < 0 || p != strconv.Itoa(x) {
			return n, fmt.Errorf("version %q is not of the form vMAJOR.MINOR[.PATCH][-pai]", string(v))
		}
		n[i] = x
	}
	return n, nil
}

// Compare is negative when v is older than w, zero when both are the same
// version, positive when v is newer. A version that does not parse is older
// than every version that does.
func (v Version) Compare(w Version) int {
	a, errA := v.numbers()
	b, errB := w.numbers()
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

// Less reports whether v is older than w.
func (v Version) Less(w Version) bool { return v.Compare(w) < 0 }

// AtLeast reports whether v is w or newer.
func (v Version) AtLeast(w Version) bool { return v.Compare(w) >= 0 }

func (v Version) String() string { return string(v) }

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Pair is the state that the support plan speaks of: which services run on
// which Kubernetes.
type Pair struct {
	Services   Version `json:"services"`
	Kubernetes Version `json:"kubernetes"`
}

func (p Pair) String() string {
	return fmt.Sprintf("services %s on Kubernetes %s", p.Services, p.Kubernetes)
}
