package plan

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/release"
)

// supportMatrix is the support plan with every version once, oldest first. A version
// that something runs but no release brings is in it without rows.
type supportMatrix struct {
	services   []part[pai.ServicesVersion]
	kubernetes []part[pai.KubernetesVersion]
}

// part is one version of services or of Kubernetes.
type part[V ~string] struct {
	version V
	rows    []release.Manifest // the releases that bring it; usually one
}

// state indexes a pair in a table.
type state struct{ services, kubernetes int }

// violation is a rule of the support plan that a hop or a state would break.
type violation struct {
	release pai.Release // the release whose row holds the rule
	rule    string
}

func (b violation) String() string { return b.rule + " (release " + string(b.release) + ")" }

// newSupportMatrix reads the releases and adds the versions of from where they are
// missing.
func newSupportMatrix(releases []release.Manifest, from pai.Pair) (*supportMatrix, error) {
	if err := checkRows(releases); err != nil {
		return nil, err
	}
	for _, v := range []string{string(from.Services), string(from.Kubernetes)} {
		if err := pai.CheckVersion(v); v != "" && err != nil {
			return nil, pai.Errorf(pai.CodeUsage, "give versions such as v0.9 and v0.9-pai", "start of the upgrade: %w", err)
		}
	}
	t := &supportMatrix{}
	for _, r := range releases {
		t.services = addPart(t.services, r.Services.Version, r)
		t.kubernetes = addPart(t.kubernetes, r.Kubernetes.Version, r)
	}
	t.services = addPart(t.services, from.Services)
	t.kubernetes = addPart(t.kubernetes, from.Kubernetes)
	return t, nil
}

func addPart[V ~string](parts []part[V], v V, rows ...release.Manifest) []part[V] {
	i, found := slices.BinarySearchFunc(parts, v, func(p part[V], v V) int { return pai.CompareVersions(p.version, v) })
	if !found {
		parts = slices.Insert(parts, i, part[V]{version: v})
	}
	parts[i].rows = append(parts[i].rows, rows...)
	return parts
}

func find[V ~string](parts []part[V], v V) int {
	return slices.IndexFunc(parts, func(p part[V]) bool { return pai.CompareVersions(p.version, v) == 0 })
}

func (t *supportMatrix) state(p pai.Pair) state {
	return state{find(t.services, p.Services), find(t.kubernetes, p.Kubernetes)}
}

func (t *supportMatrix) pair(s state) pai.Pair {
	return pai.Pair{Services: t.services[s.services].version, Kubernetes: t.kubernetes[s.kubernetes].version}
}

// incompatible is empty when the services of s run on its Kubernetes. Services
// that no release brings, and none at all, are forbidden nothing by the table.
func (t *supportMatrix) incompatible(s state) []violation {
	services, k := t.services[s.services], t.kubernetes[s.kubernetes].version
	var found []violation
	for _, r := range services.rows {
		if k.AtLeast(r.Kubernetes.CompatibleSince) {
			return nil
		}
		found = append(found, violation{r.Metadata.Name, fmt.Sprintf("services %s run on Kubernetes %s or newer, not on %s",
			services.version, r.Kubernetes.CompatibleSince, k)})
	}
	if len(found) > 1 {
		found = found[:1]
	}
	return found
}

// moveServices lists what forbids a services hop from s to the version at to.
func (t *supportMatrix) moveServices(s state, to int) []violation {
	from, k := t.services[s.services].version, t.kubernetes[s.kubernetes].version
	return fewest(t.services[to].rows, func(r release.Manifest) []violation {
		var found []violation
		if !from.AtLeast(r.Services.UpgradableSince) {
			found = append(found, violation{r.Metadata.Name, fmt.Sprintf("services %s are upgradable since %s, not from %s",
				r.Services.Version, r.Services.UpgradableSince, from)})
		}
		if !k.AtLeast(r.Kubernetes.CompatibleSince) {
			found = append(found, violation{r.Metadata.Name, fmt.Sprintf("services %s run on Kubernetes %s or newer, not on %s",
				r.Services.Version, r.Kubernetes.CompatibleSince, k)})
		}
		return found
	})
}

// moveKubernetes lists what forbids a Kubernetes hop from s to the version at to.
func (t *supportMatrix) moveKubernetes(s state, to int) []violation {
	from := t.kubernetes[s.kubernetes]
	found := fewest(t.kubernetes[to].rows, func(r release.Manifest) []violation {
		var found []violation
		if !from.version.AtLeast(r.Kubernetes.UpgradableSince) {
			found = append(found, violation{r.Metadata.Name, fmt.Sprintf("Kubernetes %s is upgradable since %s, not from %s",
				r.Kubernetes.Version, r.Kubernetes.UpgradableSince, from.version)})
		}
		if rule := upstreamRule(from, r.Kubernetes); rule != "" {
			found = append(found, violation{r.Metadata.Name, rule})
		}
		return found
	})
	return append(found, t.incompatible(state{s.services, to})...)
}

// upstreamRule is empty when upstream's minor stays or goes up by one.
func upstreamRule(from part[pai.KubernetesVersion], to release.KubernetesRow) string {
	if len(from.rows) == 0 {
		return fmt.Sprintf("a hop upgrades Kubernetes by at most one upstream minor, and the upstream minor of %s is unknown", from.version)
	}
	was := from.rows[0].Kubernetes.Upstream
	a, _ := upstreamMinor(was) // both were checked by checkRows
	b, _ := upstreamMinor(to.Upstream)
	if b == a || b == a+1 {
		return ""
	}
	if b < a {
		return fmt.Sprintf("upstream Kubernetes is never downgraded, and %s is %s while %s is %s", to.Version, to.Upstream, from.version, was)
	}
	return fmt.Sprintf("a hop upgrades Kubernetes by at most one upstream minor, and %s is %s while %s is %s",
		to.Version, to.Upstream, from.version, was)
}

// fewest returns the violations of the row that has the fewest: a hop is allowed
// as soon as one row allows it.
func fewest(rows []release.Manifest, violations func(release.Manifest) []violation) []violation {
	var best []violation
	for i, r := range rows {
		if found := violations(r); i == 0 || len(found) < len(best) {
			best = found
		}
	}
	return best
}

// checkRows reports every row that cannot be read, all at once.
func checkRows(releases []release.Manifest) error {
	var problems []error
	upstream := map[pai.KubernetesVersion]string{}
	for _, r := range releases {
		bad := func(field, format string, args ...any) {
			problems = append(problems, fmt.Errorf("release %q: %s: %s", r.Metadata.Name, field, fmt.Sprintf(format, args...)))
		}
		for _, f := range []struct {
			name string
			err  error
		}{
			{"metadata.name", pai.CheckVersion(r.Metadata.Name)},
			{"services.version", pai.CheckVersion(r.Services.Version)},
			{"services.upgradableSince", pai.CheckVersion(r.Services.UpgradableSince)},
			{"kubernetes.version", pai.CheckVersion(r.Kubernetes.Version)},
			{"kubernetes.compatibleSince", pai.CheckVersion(r.Kubernetes.CompatibleSince)},
			{"kubernetes.upgradableSince", pai.CheckVersion(r.Kubernetes.UpgradableSince)},
		} {
			if f.err != nil {
				bad(f.name, "%v", f.err)
			}
		}
		if _, err := upstreamMinor(r.Kubernetes.Upstream); err != nil {
			bad("kubernetes.upstream", "%v", err)
		}
		was, seen := upstream[r.Kubernetes.Version]
		if seen && was != r.Kubernetes.Upstream {
			bad("kubernetes.upstream", "%s is %s here and %s in another release", r.Kubernetes.Version, r.Kubernetes.Upstream, was)
		}
		upstream[r.Kubernetes.Version] = r.Kubernetes.Upstream
	}
	if len(problems) == 0 {
		return nil
	}
	return pai.Errorf(pai.CodeInvalid, "fix the release.yaml of each release in the message", "support plan: %w", errors.Join(problems...))
}

// upstreamMinor reads the minor of "v1.36.3". Every upstream Kubernetes is 1.x.
func upstreamMinor(v string) (int, error) {
	rest, ok := strings.CutPrefix(v, "v1.")
	minor, _, _ := strings.Cut(rest, ".")
	n, err := strconv.Atoi(minor)
	if !ok || err != nil || n < 0 {
		return 0, fmt.Errorf("upstream version %q is not of the form v1.MINOR.PATCH", v)
	}
	return n, nil
}
