package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"pai.dev/pai/internal/pai"
)

// The expected gaps, in seconds, rounded up from the measurements in
// docs/benchmarks.md. A step that is not listed causes no gap: the API server, etcd,
// and the REST server are handed over while they serve.
const (
	runtimeStartSeconds = 2
	kubeletStartSeconds = 3
	// The API server is stopped while etcd is restored. The pods of the REST server are
	// not those of the snapshot, so others start. Kueue and JobSet have a leader again
	// later than the API serves.
	restoreSubmissionSeconds = 30
	restoreAdmissionSeconds  = 40
)

// controllerSeconds is the gap of a service that admits and starts jobs, for each of
// admission and submission. Each service has one leader, and a new one takes over when
// the old one has ended. The API asks its webhook about new jobs, and still does for a
// moment after the old pod has ended.
const controllerSeconds = 2

// StopsStarts reports whether no container can start on the machine of a step while
// it runs: it replaces a container runtime or a kubelet that runs.
func (s Step) StopsStarts() bool {
	return s.From != "" && (s.Kind == KindKubelet || s.Kind == KindRole && s.Role == RoleRuntime)
}

// stopsAdmission reports whether a step replaces a service that admits or starts jobs.
func (s Step) stopsAdmission() bool {
	return s.From != "" && s.Kind == KindService && (s.Target == "kueue" || s.Target == "jobset")
}

// ExpectedGaps are the gaps that the steps of a plan are expected to cause.
func ExpectedGaps(p Plan) pai.Gaps {
	var g pai.Gaps
	for _, s := range p.Steps {
		switch {
		case s.Kind == KindRestore:
			g.SubmissionSeconds += restoreSubmissionSeconds
			g.AdmissionSeconds += restoreAdmissionSeconds
		case s.stopsAdmission():
			g.SubmissionSeconds += controllerSeconds
			g.AdmissionSeconds += controllerSeconds
		case s.StopsStarts():
			if g.StartSeconds == nil {
				g.StartSeconds = map[string]float64{}
			}
			g.StartSeconds[s.Target] += map[bool]float64{true: kubeletStartSeconds, false: runtimeStartSeconds}[s.Kind == KindKubelet]
		}
	}
	return g
}

// gapsText describes the expected gaps of a plan; empty if there are none.
func gapsText(p Plan) string {
	g := ExpectedGaps(p)
	var b strings.Builder
	if g.SubmissionSeconds > 0 {
		fmt.Fprintf(&b, "New jobs: none can be submitted for up to %.0f s, and none is admitted for up to %.0f s.\n", g.SubmissionSeconds, g.AdmissionSeconds)
	}
	if len(g.StartSeconds) > 0 {
		longest := slices.Max(slices.Collect(maps.Values(g.StartSeconds)))
		fmt.Fprintf(&b, "New containers: none starts on a machine for up to %.0f s, on %s.\n", longest, count(len(g.StartSeconds), "machine"))
	}
	return b.String()
}
