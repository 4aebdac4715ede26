// Package docs checks the documents against the tree: links lead somewhere, and
// named packages and files exist.
package docs

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

// documents calls check with every Markdown file of the repository.
func documents(t *testing.T, check func(name, text string)) {
	t.Helper()
	tree := os.DirFS(root)
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name != "." && (strings.HasPrefix(d.Name(), ".") || slices.Contains([]string{"testdata", "bin", "node_modules"}, d.Name())) {
				return fs.SkipDir
			}
			return nil
		}
		if path.Ext(name) != ".md" {
			return nil
		}
		data, err := fs.ReadFile(tree, name)
		if err == nil {
			check(name, string(data))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

var (
	code = regexp.MustCompile("(?s)```.*?```|`[^`\n]*`")
	link = regexp.MustCompile(`\[[^\]]*\]\(([^)\s]+)\)`)
)

// Relative links name a file, and anchors name a heading in it.
func TestLinksResolve(t *testing.T) {
	t.Parallel()
	documents(t, func(name, text string) {
		for _, m := range link.FindAllStringSubmatch(code.ReplaceAllString(text, ""), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			file, anchor, _ := strings.Cut(m[1], "#")
			target := name
			if file != "" {
				target = path.Join(path.Dir(name), file)
			}
			data, err := os.ReadFile(path.Join(root, target))
			if err != nil && !isDir(target) {
				t.Errorf("%s: link to %s: file %s not found", name, m[1], target)
			} else if anchor != "" && !headings(string(data))[anchor] {
				t.Errorf("%s: link to %s: %s has no such heading", name, m[1], target)
			}
		}
	})
}

func isDir(name string) bool {
	info, err := os.Stat(path.Join(root, name))
	return err == nil && info.IsDir()
}

// headings are the anchors that GitHub gives to the headings of a document.
func headings(text string) map[string]bool {
	anchors := map[string]bool{}
	fenced := false
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "```") {
			fenced = !fenced
		}
		if title, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " "); ok && !fenced && strings.HasPrefix(line, "#") {
			kept := regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(strings.TrimSpace(title)), "")
			anchors[strings.ReplaceAll(kept, " ", "-")] = true
		}
	}
	return anchors
}

// A path of the tree that a document names exists. Placeholders are in capitals.
// Mutation results and the changelog also name files of earlier trees.
func TestNamedPathsExist(t *testing.T) {
	t.Parallel()
	named := regexp.MustCompile(`\b(?:internal|cmd|test|hack|services|components|releases|examples|docs)/[A-Za-z0-9_./*-]*[A-Za-z0-9_*]`)
	placeholder := regexp.MustCompile(`[A-Z]{3,}|\.\.\.|/v[0-9]+\.[0-9]+`)
	exists := func(pattern string) bool {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		return err == nil && len(found) > 0
	}
	documents(t, func(name, text string) {
		if name == "docs/mutants.md" || name == "CHANGELOG.md" {
			return
		}
		for _, p := range named.FindAllString(text, -1) {
			if !placeholder.MatchString(p) && !exists(p) && !exists(path.Join(path.Dir(name), p)) {
				t.Errorf("%s names %s, which does not exist", name, p)
			}
		}
	})
}

// Where a document says that a name is in a file of Go, the file has it.
func TestNamedCodeExists(t *testing.T) {
	t.Parallel()
	in := regexp.MustCompile("`([A-Za-z_][A-Za-z0-9_]*)`\\s+in\\s+`((?:internal|cmd|test|components)/[A-Za-z0-9_./-]+\\.go)`")
	found := 0
	documents(t, func(doc, text string) {
		for _, m := range in.FindAllStringSubmatch(text, -1) {
			found++
			data, err := os.ReadFile(filepath.Join(root, m[2]))
			if err != nil || !regexp.MustCompile(`\b`+m[1]+`\b`).Match(data) {
				t.Errorf("%s says that %s has %s, but it does not (%v); name what replaced it", doc, m[2], m[1], err)
			}
		}
	})
	if found == 0 {
		t.Error("no document names code in a file")
	}
}
