package plan

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/release"
)

// row makes a release of the support plan.
func row(name, servicesSince, kubernetes, upstream, compatible, kubernetesSince string) release.Manifest {
	return release.Manifest{
		Metadata: release.Metadata{Name: pai.Release(name)},
		Services: release.ServicesRow{Version: pai.ServicesVersion(name), UpgradableSince: pai.ServicesVersion(servicesSince)},
		Kubernetes: release.KubernetesRow{Version: pai.KubernetesVersion(kubernetes), Upstream: upstream,
			CompatibleSince: pai.KubernetesVersion(compatible), UpgradableSince: pai.KubernetesVersion(kubernetesSince)},
	}
}

// drawTable draws a support plan of a few releases. Half of them are such that
// many hops are needed and possible; the rows of the other half need not make
// sense together: the rules have to hold for any.
func drawTable(t *rapid.T) []release.Manifest {
	n := rapid.IntRange(1, 6).Draw(t, "releases")
	window := rapid.IntRange(0, 3).Draw(t, "window") // how far back one hop reaches
	minors := []int{0, 1, 1, 1, 1, 2, -1}
	if rapid.Bool().Draw(t, "sensible") {
		n, window, minors = max(n, 4), max(window, 1), []int{1, 1, 0}
	}
	names := drawNames(t, n)
	kubernetes, minor := 1, 30
	var rows []release.Manifest
	for i := 1; i <= n; i++ {
		if i > 1 && rapid.IntRange(0, 4).Draw(t, "newKubernetes") > 0 {
			kubernetes = i
			// Mostly, the Kubernetes of a patch release is a patch of the same minor.
			if !isPatch(names[i]) || rapid.IntRange(0, 4).Draw(t, "patch with a minor") == 0 {
				minor += rapid.SampledFrom(minors).Draw(t, "minor")
			}
		}
		since := func(what string, newest int) string {
			return names[rapid.IntRange(max(0, newest-window), newest).Draw(t, what)]
		}
		rows = append(rows, row(names[i], since("servicesSince", i), names[kubernetes]+"-pai",
			fmt.Sprintf("v1.%d.%d", minor, kubernetes), since("compatible", kubernetes)+"-pai", since("kubernetesSince", kubernetes)+"-pai"))
	}
	return rows
}

// drawNames draws the names of n releases, oldest first, some of them patch
// releases, and before them the name of a release that the table does not have.
func drawNames(t *rapid.T, n int) []string {
	names := []string{version(0)}
	minor, patch := 0, 0
	for range n {
		if len(names) > 1 && rapid.IntRange(0, 2).Draw(t, "patch release") == 0 {
			patch += rapid.IntRange(1, 9).Draw(t, "patch") // v0.9.9 and v0.9.10 are both drawn
			names = append(names, fmt.Sprintf("%s.%d", version(minor), patch))
			continue
		}
		minor, patch = minor+1, 0
		names = append(names, version(minor))
	}
	return names
}

func isPatch(name string) bool { return strings.Count(name, ".") == 2 }

func version(i int) string { return fmt.Sprintf("v0.%d", i+8) } // v0.9 and v0.10 are adjacent

// drawPair draws versions of the table, and some that are not in it: older, newer,
// and a patch release between two rows.
func drawPair(t *rapid.T, rows []release.Manifest) pai.Pair {
	if rapid.Bool().Draw(t, "oldest") {
		return pai.Pair{Services: pai.ServicesVersion(version(1)), Kubernetes: pai.KubernetesVersion(version(1)) + "-pai"}
	}
	draw := func(what string) string {
		at := rapid.SampledFrom(rows).Draw(t, what)
		switch rapid.IntRange(0, 9).Draw(t, "foreign "+what) {
		case 0:
			return version(0)
		case 1:
			return version(len(rows) + 1)
		case 2:
			return version(rapid.IntRange(1, len(rows)).Draw(t, what)) + ".5"
		}
		return string(at.Metadata.Name)
	}
	return pai.Pair{Services: pai.ServicesVersion(draw("services")), Kubernetes: pai.KubernetesVersion(draw("kubernetes") + "-pai")}
}

func drawTarget(t *rapid.T, rows []release.Manifest) Target {
	only := rapid.IntRange(0, 3).Draw(t, "only")
	to := rows[len(rows)-1]
	if rapid.Bool().Draw(t, "any") {
		to = rapid.SampledFrom(rows).Draw(t, "target")
	}
	return Target{
		Release:        to.Metadata.Name,
		KubernetesOnly: only == 1, ServicesOnly: only == 2,
	}
}

// Hops finds what a search finds that tries every sequence of hops, and writes
// the rules down a second time, plainly.
func TestHopsAgreeWithBruteForce(t *testing.T) {
	found, refused, long := 0, 0, 0
	for range 60 { // 6000 tables
		rapid.Check(t, func(t *rapid.T) {
			rows := drawTable(t)
			from, target := drawPair(t, rows), drawTarget(t, rows)
			got, err := Hops(rows, from, target)
			want, possible := bruteForce(rows, from, target)
			if !possible {
				refused++
				if pai.CodeOf(err) != pai.CodeRefused {
					t.Fatalf("%s, %+v: brute force finds no way, got %v, error %v", from, target, got, err)
				}
				checkRefusal(t, rows, err)
				return
			}
			found++
			if len(want) > 2 {
				long++
			}
			if err != nil {
				t.Fatalf("%s, %+v: brute force finds %v, got error: %v", from, target, want, err)
			}
			if !slices.Equal(got, want) {
				t.Fatalf("%s, %+v:\n got %v\nwant %v", from, target, got, want)
			}
		})
	}
	t.Logf("%d paths, %d of them with more than two hops; %d refusals", found, long, refused)
	if found < 600 || refused < 600 || long < 60 {
		t.Errorf("the random support plans are too alike to prove anything")
	}
}

// checkRefusal demands that a refusal names a release of the table and says
// how far one gets.
func checkRefusal(t *rapid.T, rows []release.Manifest, err error) {
	var e *pai.Error
	if !errors.As(err, &e) || e.Next == "" {
		t.Fatalf("refusal without a next step: %v", err)
	}
	named := slices.ContainsFunc(rows, func(r release.Manifest) bool {
		return strings.Contains(err.Error(), "(release "+string(r.Metadata.Name)+")")
	})
	if !named || !strings.Contains(err.Error(), "reach") {
		t.Fatalf("refusal names no rule of a release, or not how far one gets: %v", err)
	}
}

// bruteForce tries every sequence of hops and keeps the best.
func bruteForce(rows []release.Manifest, from pai.Pair, target Target) ([]Hop, bool) {
	byName := map[string]release.Manifest{}
	for _, r := range rows {
		byName[string(r.Metadata.Name)] = r
	}
	to := byName[string(target.Release)]
	if from.Services.Compare(to.Services.Version) == 0 && from.Kubernetes.Compare(to.Kubernetes.Version) == 0 {
		return []Hop{}, true
	}
	goal := pai.Pair{Services: newest(from.Services, to.Services.Version), Kubernetes: newest(from.Kubernetes, to.Kubernetes.Version)}
	arrived := func(p pai.Pair) bool {
		return compatible(rows, p) &&
			(target.KubernetesOnly || p.Services.Compare(goal.Services) == 0) &&
			(target.ServicesOnly || p.Kubernetes.Compare(goal.Kubernetes) == 0)
	}
	var best []Hop
	possible := false
	var walk func(at pai.Pair, hops []Hop)
	walk = func(at pai.Pair, hops []Hop) {
		if arrived(at) {
			if !possible || bruteBetter(hops, best, target) {
				best, possible = append([]Hop{}, hops...), true
			}
			return // more hops only make it longer
		}
		for _, r := range rows {
			if s := r.Services; at.Services.Less(s.Version) && goal.Services.AtLeast(s.Version) &&
				at.Services.AtLeast(s.UpgradableSince) && at.Kubernetes.AtLeast(r.Kubernetes.CompatibleSince) {
				walk(pai.Pair{Services: s.Version, Kubernetes: at.Kubernetes}, append(slices.Clone(hops), Hop{HopServices, pai.AnyVersion(at.Services), pai.AnyVersion(s.Version)}))
			}
			if k := r.Kubernetes; at.Kubernetes.Less(k.Version) && goal.Kubernetes.AtLeast(k.Version) && at.Kubernetes.AtLeast(k.UpgradableSince) {
				next := pai.Pair{Services: at.Services, Kubernetes: k.Version}
				if oneMinor(rows, at.Kubernetes, k.Upstream) && compatible(rows, next) {
					walk(next, append(slices.Clone(hops), Hop{HopKubernetes, pai.AnyVersion(at.Kubernetes), pai.AnyVersion(k.Version)}))
				}
			}
		}
	}
	walk(from, nil)
	return best, possible
}

func newest[V ~string](a, b V) V {
	if pai.CompareVersions(a, b) < 0 {
		return b
	}
	return a
}

func compatible(rows []release.Manifest, p pai.Pair) bool {
	for _, r := range rows {
		if r.Services.Version.Compare(p.Services) == 0 {
			return p.Kubernetes.AtLeast(r.Kubernetes.CompatibleSince)
		}
	}
	return true
}

func oneMinor(rows []release.Manifest, from pai.KubernetesVersion, upstream string) bool {
	for _, r := range rows {
		if r.Kubernetes.Version.Compare(from) == 0 {
			var a, b, patch int
			fmt.Sscanf(r.Kubernetes.Upstream, "v1.%d.%d", &a, &patch)
			fmt.Sscanf(upstream, "v1.%d.%d", &b, &patch)
			return b == a || b == a+1
		}
	}
	return false
}

// bruteBetter says whether a is better than b by the order that Hops documents.
func bruteBetter(a, b []Hop, target Target) bool {
	count := func(hops []Hop, kind HopKind) int {
		n := 0
		for _, h := range hops {
			if h.Kind == kind {
				n++
			}
		}
		return n
	}
	spare := HopKind("")
	if target.KubernetesOnly {
		spare = HopServices
	}
	if target.ServicesOnly {
		spare = HopKubernetes
	}
	c := cmp.Or(cmp.Compare(count(a, spare), count(b, spare)), cmp.Compare(len(a), len(b)), cmp.Compare(count(a, HopKubernetes), count(b, HopKubernetes)))
	for i := 0; c == 0 && i < len(a); i++ {
		if a[i].Kind != b[i].Kind {
			c = 1
			if a[i].Kind == HopServices {
				c = -1
			}
		}
	}
	for i := 0; c == 0 && i < len(a); i++ {
		if c = pai.CompareVersions(b[i].To, a[i].To); a[i].Kind == spare {
			c = -c
		}
	}
	return c < 0
}

// Every state that Hops passes is compatible, whatever the start.
func TestHopsPassOnlyCompatibleStates(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rows := drawTable(t)
		at := drawPair(t, rows)
		hops, err := Hops(rows, at, drawTarget(t, rows))
		if err != nil {
			return
		}
		for _, h := range hops {
			if h.Kind == HopServices {
				at.Services = h.To.Services()
			} else {
				at.Kubernetes = h.To.Kubernetes()
			}
			if !compatible(rows, at) {
				t.Fatalf("%v passes %s, which is not compatible", hops, at)
			}
		}
	})
}

func TestHopsOfInvalidInputFails(t *testing.T) {
	rows := []release.Manifest{row("v0.9", "v0.9", "v0.9-pai", "v1.35.4", "v0.9-pai", "v0.9-pai")}
	good := pai.Pair{Services: "v0.9", Kubernetes: "v0.9-pai"}
	bad := row("v0.10", "v0.9", "v0.10-pai", "1.36", "v0.10-pai", "banana")
	for _, c := range []struct {
		name     string
		rows     []release.Manifest
		from     pai.Pair
		to       pai.Release
		code     pai.Code
		contains []string
	}{
		{"unknown release", rows, good, "v0.12", pai.CodeUsage, []string{"v0.12"}},
		{"no release", rows, good, "", pai.CodeUsage, []string{"target release"}},
		{"start that is no version", rows, pai.Pair{Services: "nine", Kubernetes: "v0.9-pai"}, "v0.9", pai.CodeUsage, []string{"nine"}},
		{"no Kubernetes", rows, pai.Pair{Services: "v0.9"}, "v0.9", pai.CodeRefused, []string{"no Kubernetes"}},
		{"all bad fields at once", append(rows, bad), good, "v0.10", pai.CodeInvalid, []string{`"v0.10": kubernetes.upstream`, `"v0.10": kubernetes.upgradableSince`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Hops(c.rows, c.from, Target{Release: c.to})
			if err == nil || pai.CodeOf(err) != c.code {
				t.Fatalf("got error %v with code %s, want code %s", err, pai.CodeOf(err), c.code)
			}
			for _, want := range c.contains {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not mention %q", err, want)
				}
			}
		})
	}
}
