package pai

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// The oracle compares the three numbers one by one.
func TestVersionsCompareByNumber(t *testing.T) {
	number := rapid.IntRange(0, 12)
	rapid.Check(t, func(t *rapid.T) {
		var a, b [3]int
		order := 0
		for i := range a {
			a[i], b[i] = number.Draw(t, "a"), number.Draw(t, "b")
			if order == 0 {
				order = a[i] - b[i]
			}
		}
		suffix := rapid.SampledFrom([]string{"", "-pai"})
		v := KubernetesVersion(fmt.Sprintf("v%d.%d.%d%s", a[0], a[1], a[2], suffix.Draw(t, "suffix")))
		w := KubernetesVersion(fmt.Sprintf("v%d.%d.%d%s", b[0], b[1], b[2], suffix.Draw(t, "suffix")))
		if got := v.Compare(w); (got < 0) != (order < 0) || (got > 0) != (order > 0) || v.Less(w) != (order < 0) || v.AtLeast(w) != (order >= 0) {
			t.Fatalf("%s compared with %s: got %d", v, w, got)
		}
	})
}

// Two versions that compare equal have the same canonical spelling, apart from
// suffix and build.
func TestCanonicalIsOneSpelling(t *testing.T) {
	for version, want := range map[string]string{
		"v0.10": "v0.10", "v0.10.0": "v0.10", "v0.10.0-pai": "v0.10-pai", "v1.0": "v1.0", "v1.0.0": "v1.0", "v0.10.10": "v0.10.10",
		"v0.10.0-pai+1f0c5d7a9b2e": "v0.10-pai+1f0c5d7a9b2e", "v0.10.1-pai": "v0.10.1-pai", "nine.0": "nine.0", "": "",
	} {
		if got := Canonical(version); got != want {
			t.Errorf("%q: got %q, want %q", version, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		draw := func(name string) Release {
			v := fmt.Sprintf("v%d.%d", rapid.IntRange(0, 2).Draw(t, name), rapid.IntRange(0, 2).Draw(t, name))
			if rapid.Bool().Draw(t, name+" has a patch") {
				v += fmt.Sprintf(".%d", rapid.IntRange(0, 2).Draw(t, name))
			}
			return Release(v)
		}
		a, b := draw("a"), draw("b")
		if (a.Compare(b) == 0) != (Canonical(a) == Canonical(b)) || Canonical(a).Compare(a) != 0 {
			t.Fatalf("%s and %s: compare %d, spelled %s and %s", a, b, a.Compare(b), Canonical(a), Canonical(b))
		}
	})
}

func TestCheckVersion(t *testing.T) {
	for version, valid := range map[string]bool{
		"v0.10": true, "v0.10.1": true, "v0.10-pai": true,
		"": false, "0.10": false, "v0": false, "v0.1.2.3": false, "v0.01": false, "v0.-1": false, "v0.10-rc1": false,
	} {
		if err := CheckVersion(version); (err == nil) != valid {
			t.Errorf("%q: got %v, want valid %v", version, err, valid)
		}
	}
	if !Release("nine").Less("v0.1") {
		t.Error("an invalid version must be older than a valid one")
	}
}
