package release

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"pai.dev/pai/internal/pai"
)

// NotesFile is the name of the notes in a release's directory.
const NotesFile = "notes.md"

// notesFormat is the first bundle format with notes.
const notesFormat = 2

// Notes are what operators need to know about a release: notes.md as data.
type Notes struct {
	Release pai.Release `json:"release"`
	Changes []Change    `json:"changes"`
	// Text is the Markdown around the table of changes.
	Text string `json:"text"`
}

// Change is one row of the table of changes.
type Change struct {
	What string `json:"what"` // "Kubernetes"
	From string `json:"from"` // version in the previous release
	To   string `json:"to"`
	// RunningJobs and NewJobs are what jobs notice: "none", "none: why", or the
	// effect.
	RunningJobs string `json:"runningJobs"`
	NewJobs     string `json:"newJobs"`
}

// Pin is the name that the change has in release.yaml: "cni" for "CNI plugins".
func (c Change) Pin() string {
	if c.What == "CNI plugins" {
		return "cni"
	}
	return strings.ReplaceAll(strings.ToLower(c.What), " ", "-")
}

const (
	notesHeader    = "| What changes | From | To | Running jobs | New jobs |"
	notesSeparator = "| --- | --- | --- | --- | --- |"
)

// parseNotes reads notes.md of a release: a heading, and one table of changes
// among any text.
func parseNotes(release pai.Release, data []byte) (Notes, error) {
	n := Notes{Release: release, Changes: []Change{}}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	if want := "# PAI " + string(release); lines[0] != want {
		return n, fmt.Errorf("%s: line 1 is %q, not %q", NotesFile, lines[0], want)
	}
	var text []string
	var problems []error
	inTable, tables := false, 0
	for i, line := range lines[1:] {
		problem := func(format string, args ...any) {
			problems = append(problems, fmt.Errorf("%s: line %d %s", NotesFile, i+2, fmt.Sprintf(format, args...)))
		}
		switch {
		case line == notesHeader:
			inTable = true
			if tables++; tables > 1 {
				problem("is a second table of changes")
			}
		case inTable && line == notesSeparator:
		case strings.HasPrefix(line, "|") && !inTable:
			problem("is a row of a table with another header, not %q", notesHeader)
		case strings.HasPrefix(line, "|"):
			c, err := parseChange(line)
			if err != nil {
				problem("%v", err)
			}
			n.Changes = append(n.Changes, c)
		default:
			inTable = false
			text = append(text, line)
		}
	}
	if tables == 0 {
		problems = append(problems, fmt.Errorf("%s has no table of changes: %s", NotesFile, notesHeader))
	}
	n.Text = tidyText(text)
	return n, errors.Join(problems...)
}

func parseChange(line string) (Change, error) {
	cells := strings.Split(strings.TrimSuffix(strings.TrimPrefix(line, "|"), "|"), "|")
	if len(cells) != 5 || !strings.HasSuffix(line, "|") {
		return Change{}, fmt.Errorf("has %d cells, not 5", len(cells))
	}
	for i := range cells {
		if cells[i] = strings.TrimSpace(cells[i]); cells[i] == "" {
			return Change{}, fmt.Errorf("has an empty cell %d", i+1)
		}
	}
	return Change{What: cells[0], From: cells[1], To: cells[2], RunningJobs: cells[3], NewJobs: cells[4]}, nil
}

// tidyText joins lines, with one empty line where the table was.
func tidyText(lines []string) string {
	text := strings.TrimSpace(strings.Join(lines, "\n"))
	for strings.Contains(text, "\n\n\n") {
		text = strings.ReplaceAll(text, "\n\n\n", "\n\n")
	}
	return text
}

// LoadNotes reads the notes of a release from a directory of releases; ok is
// false if it has none.
func LoadNotes(fsys fs.FS, release pai.Release) (n Notes, ok bool, err error) {
	data, err := readNotes(fsys, release)
	if err != nil || data == nil {
		return n, false, err
	}
	n, err = parseNotes(release, data)
	return n, err == nil, err
}

// readNotes returns nil if the release has no notes.
func readNotes(fsys fs.FS, release pai.Release) ([]byte, error) {
	data, err := fs.ReadFile(fsys, path.Join(string(release), NotesFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read notes of release %s: %w", release, err)
	}
	return data, nil
}

// notesToBuild returns the notes for the bundle of a release, checked.
func notesToBuild(fsys fs.FS, m Manifest) ([]byte, error) {
	data, err := readNotes(fsys, m.Metadata.Name)
	if err != nil || data == nil {
		return nil, err
	}
	place := path.Join("releases", string(m.Metadata.Name))
	if _, err := parseNotes(m.Metadata.Name, data); err != nil {
		return nil, pai.Errorf(pai.CodeInvalid, "fix "+place+"/"+NotesFile, "notes of release %s:\n%w", m.Metadata.Name, err)
	}
	if m.Format() < notesFormat {
		return nil, pai.Errorf(pai.CodeInvalid, fmt.Sprintf("write bundleFormat: %d into %s/%s", notesFormat, place, ManifestFile),
			"release %s has notes, which bundles of format %d cannot have", m.Metadata.Name, m.Format())
	}
	return data, nil
}
