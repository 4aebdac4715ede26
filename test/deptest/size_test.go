package deptest

import (
	"bytes"
	"io/fs"
	"os"
	"path"
	"slices"
	"testing"
)

// A file has one subject. These bounds do not say when it has two, but a file
// beyond them always had.
const (
	longestFile = 400 // lines
	longMany    = 260 // lines that nine of ten files stay below
	longMost    = 120 // lines that every second file stays below
)

func TestGoFilesStayShort(t *testing.T) {
	tree := os.DirFS("../..")
	var lengths []int
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && name != "." && foreign(d) {
			return fs.SkipDir
		}
		if d.IsDir() || path.Ext(name) != ".go" {
			return nil
		}
		data, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		lines := bytes.Count(data, []byte("\n"))
		if lines > longestFile {
			t.Errorf("%s has %d lines, want at most %d: part it by subject", name, lines, longestFile)
		}
		lengths = append(lengths, lines)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(lengths)
	if got := lengths[len(lengths)/2]; got > longMost {
		t.Errorf("got a median of %d lines, want at most %d", got, longMost)
	}
	if got := lengths[len(lengths)*9/10]; got > longMany {
		t.Errorf("got %d lines at nine of ten files, want at most %d", got, longMany)
	}
}
