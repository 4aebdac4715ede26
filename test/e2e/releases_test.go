//go:build e2e

package e2e

import (
	"encoding/json"
	"time"
)

// Most tests upgrade from older, the last release before this tree's, to newer,
// which is this tree's.
const (
	older           = "v0.10"
	newer           = "v0.11"
	olderKubernetes = older + "-pai"
	newerKubernetes = newer + "-pai"
	olderUpstream   = "v1.36.3"
	newerUpstream   = "v1.37.2"
)

// buildBundle makes sure that the bundles of releases are in the cache, signed
// with this operator's key. It returns the paictl of each frozen release.
func (o *operator) buildBundle(releases ...string) map[string]string {
	o.t.Helper()
	out := o.run(50*time.Minute, append([]string{"release", "build", "-o", "json"}, releases...)...)
	var built []struct{ Release, Paictl string }
	if err := json.Unmarshal([]byte(out), &built); err != nil || len(built) != len(releases) {
		o.t.Fatalf("release build %v: %v\n%s", releases, err, out)
	}
	programs := map[string]string{}
	for _, b := range built {
		programs[b.Release] = b.Paictl
	}
	return programs
}

// bootFrozen boots a frozen release with the paictl that belongs to it, as its
// operators did, and builds the bundles of the way to the newer release. It returns
// that paictl.
func (o *operator) bootFrozen(release string, args ...string) string {
	o.t.Helper()
	releases := []string{older, newer}
	if release != older {
		releases = append([]string{release}, releases...)
	}
	previous := *o
	previous.program = o.buildBundle(releases...)[release]
	if previous.program == "" {
		o.t.Fatalf("the build of release %s names no paictl", release)
	}
	previous.run(10*time.Minute, append([]string{"up", "--release", release, "--yes"}, args...)...)
	return previous.program
}

// serverVersion is the version of the API server.
func (o *operator) serverVersion() string {
	o.t.Helper()
	var v struct {
		ServerVersion struct{ GitVersion string }
	}
	if out := o.kubectl("version -o json"); json.Unmarshal([]byte(out), &v) != nil {
		o.t.Fatalf("not the version of the API server: %s", out)
	}
	return v.ServerVersion.GitVersion
}
