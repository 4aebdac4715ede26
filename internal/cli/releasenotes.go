package cli

import (
	"slices"

	"pai.dev/pai/internal/cli/ui"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/release"
	"pai.dev/pai/releases"
)

// releaseNotes are the notes of the releases that hops reach, oldest first.
// Releases without notes are left out.
func releaseNotes(hops []plan.Hop, known []release.Manifest) ([]release.Notes, error) {
	var all []release.Notes
	for _, m := range known {
		if !slices.ContainsFunc(hops, func(h plan.Hop) bool { return h.Reaches(m) }) {
			continue
		}
		n, ok, err := release.LoadNotes(releases.FS, m.Metadata.Name)
		if err != nil {
			return nil, err
		}
		if ok {
			all = append(all, n)
		}
	}
	return all, nil
}

// writeNotesBriefly writes what jobs notice of each change.
func writeNotesBriefly(p *ui.Page, all []release.Notes) {
	for _, n := range all {
		p.Linef("\nRelease notes of %s (whole: -o json, or paictl release show %s)", n.Release, n.Release)
		writeChanges(p, n)
	}
}

func writeChanges(p *ui.Page, n release.Notes) {
	p.Row("CHANGE", "FROM", "TO", "RUNNING JOBS", "NEW JOBS")
	for _, c := range n.Changes {
		p.Row(c.What, c.From, c.To, c.RunningJobs, c.NewJobs)
	}
}

// writeNotes writes whole notes; nil if there are none.
func writeNotes(p *ui.Page, n *release.Notes) {
	if n == nil {
		p.Linef("\nNotes: the release has no notes.")
		return
	}
	p.Linef("\nNotes:")
	writeChanges(p, *n)
	p.Linef("\n%s", n.Text)
}
