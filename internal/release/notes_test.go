package release

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pai.dev/pai/internal/pai"
)

const goodNotes = `# PAI v0.1

Before.

| What changes | From | To | Running jobs | New jobs |
| --- | --- | --- | --- | --- |
| CNI plugins | v1 | v2 (beta) | none: they stay | wait |
| REST server | v0.9 | v0.10 | none | none |

**After.** More.
`

func TestParseNotes(t *testing.T) {
	t.Parallel()
	n, err := parseNotes("v0.1", []byte(goodNotes))
	if err != nil {
		t.Fatal(err)
	}
	want := Notes{Release: "v0.1", Text: "Before.\n\n**After.** More.", Changes: []Change{
		{"CNI plugins", "v1", "v2 (beta)", "none: they stay", "wait"},
		{"REST server", "v0.9", "v0.10", "none", "none"},
	}}
	if !reflect.DeepEqual(n, want) {
		t.Errorf("got %+v, want %+v", n, want)
	}
	if a, b := n.Changes[0].Pin(), n.Changes[1].Pin(); a != "cni" || b != "rest-server" {
		t.Errorf("got pins %s and %s, want cni and rest-server", a, b)
	}
}

func TestParseNotesRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ old, new, want string }{
		"another release":    {"# PAI v0.1", "# PAI v0.2", `line 1 is "# PAI v0.2", not "# PAI v0.1"`},
		"no table":           {notesHeader, "Changes:", "has no table of changes"},
		"another header":     {"| New jobs |", "| Jobs |", "another header"},
		"a missing cell":     {"| none | none |", "| none |", "line 8 has 4 cells, not 5"},
		"a row without end":  {"| none | none |", "| none | none | ", "line 8 has 6 cells, not 5"},
		"an empty cell":      {"| v0.9 |", "| |", "line 8 has an empty cell 2"},
		"a second table":     {"**After.**", notesHeader + "\n**After.**", "line 10 is a second table"},
		"nothing":            {goodNotes, "", "line 1"},
		"a pipe in the text": {"Before.", "| Before", "line 3 is a row of a table"},
	} {
		if _, err := parseNotes("v0.1", []byte(strings.Replace(goodNotes, c.old, c.new, 1))); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want an error with %q", name, err, c.want)
		}
	}
}

// withNotes gives the release of a source tree notes.
func withNotes(t *testing.T, source, notes, format string) {
	t.Helper()
	replaceFile(t, filepath.Join(source, "releases/v0.1", NotesFile), notes)
	file := filepath.Join(source, "releases/v0.1", ManifestFile)
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	replaceFile(t, file, string(data)+format)
}

func TestBundleHasTheNotes(t *testing.T) {
	t.Parallel()
	source, cache := sourceFixture(t), t.TempDir()
	withNotes(t, source, goodNotes, "")
	o := fixtureOptions(source, cache, &strings.Builder{})
	if _, err := Build(context.Background(), o); err == nil || pai.NextOf(err) != "write bundleFormat: 2 into releases/v0.1/release.yaml" {
		t.Fatalf("got %v, next step %q; want that notes need format 2", err, pai.NextOf(err))
	}
	withNotes(t, source, strings.ReplaceAll(goodNotes, "none |", ""), "bundleFormat: 2\n")
	if _, err := Build(context.Background(), o); err == nil || !strings.Contains(err.Error(), "cells, not 5") {
		t.Fatalf("got %v, want the mistake in the notes", err)
	}
	withNotes(t, source, goodNotes, "")
	dir, _ := fixtureBuild(t, source, cache)
	b := openFixture(t, dir)
	if n := b.Notes(); n == nil || len(n.Changes) != 2 || !strings.Contains(n.Text, "More.") {
		t.Errorf("got notes %+v, want those of the source tree", n)
	}
	if err := b.Verify(context.Background()); err != nil {
		t.Error(err)
	}
	// Other notes are another bundle.
	withNotes(t, source, goodNotes+"\nAnd more.\n", "")
	dir, _ = fixtureBuild(t, source, cache)
	if after := openFixture(t, dir); after.Digest() == b.Digest() || !strings.Contains(after.Notes().Text, "And more.") {
		t.Errorf("got notes %+v, want the new ones", after.Notes())
	}
	if openFixture(t, oldBundle).Notes() != nil {
		t.Error("the bundle of commit c82e023 has notes")
	}
}

// The table of changes has every pin that a release changes, with its versions,
// and nothing else.
func TestNotesOfThisSourceTreeMatchThePins(t *testing.T) {
	t.Parallel()
	releases := os.DirFS("../../releases")
	manifests, err := LoadRows(releases)
	if err != nil {
		t.Fatal(err)
	}
	built, err := Load(os.DirFS("../service/testdata/c82e023/releases")) // what the bundles of frozen releases pin
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for i := range manifests {
		for _, b := range built {
			manifests[i] = manifests[i].WithPins(b)
		}
	}
	for i, m := range manifests {
		n, ok, err := LoadNotes(releases, m.Metadata.Name)
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 && !ok {
			t.Errorf("release %s has no notes", m.Metadata.Name)
		}
		if !ok || !m.HasPins() {
			continue
		}
		to, from, known := pinsOf(m), pinsOf(manifests[i-1]), manifests[i-1].HasPins()
		var listed []string
		for _, c := range n.Changes {
			checked++
			listed = append(listed, c.Pin())
			version := func(cell string) string { // "none" of a program that is new
				return strings.TrimPrefix(strings.Fields(cell)[0], "none")
			}
			if version(c.To) != to[c.Pin()] || known && version(c.From) != from[c.Pin()] {
				t.Errorf("release %s: %s is %s → %s in the notes, %s → %s in the manifests", m.Metadata.Name, c.What, c.From, c.To, from[c.Pin()], to[c.Pin()])
			}
		}
		for name, version := range to {
			if known && from[name] != version && !slices.Contains(listed, name) {
				t.Errorf("release %s changes %s from %s to %s, which the notes do not have", m.Metadata.Name, name, from[name], version)
			}
		}
	}
	if checked == 0 {
		t.Error("no release has notes and pins")
	}
}

// pinsOf has the version of every program and image.
func pinsOf(m Manifest) map[string]string {
	pins := map[string]string{}
	for _, p := range m.Programs {
		pins[p.Name] = p.Version
	}
	for _, i := range m.Images {
		pins[i.Name] = i.Version
	}
	return pins
}
