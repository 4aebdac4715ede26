//go:build e2e

package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// workshop builds PAI from other sources than those of the repository. All that it
// makes is in one directory.
type workshop struct {
	t   *testing.T
	dir string
}

// A change replaces a text that occurs once in a file of a source tree.
type change struct{ file, old, new string }

// changed is the content of a file of a source tree with a change.
func (w workshop) changed(tree string, c change) []byte {
	w.t.Helper()
	data, err := os.ReadFile(filepath.Join(tree, c.file))
	if err != nil {
		w.t.Fatal(err)
	}
	if n := strings.Count(string(data), c.old); n != 1 {
		w.t.Fatalf("%s contains the text to change %d times, want 1: %s", c.file, n, c.old)
	}
	return []byte(strings.Replace(string(data), c.old, c.new, 1))
}

func (w workshop) write(file string, content []byte) {
	w.t.Helper()
	if err := os.WriteFile(file, content, 0o644); err != nil {
		w.t.Fatal(err)
	}
}

// paictl builds paictl as if the sources had changes, each in another file.
func (w workshop) paictl(changes ...change) string {
	w.t.Helper()
	dir := w.newDir("paictl")
	replace := map[string]string{}
	for _, c := range changes {
		file := filepath.Join(dir, strings.ReplaceAll(c.file, "/", "-"))
		w.write(file, w.changed(repository(), c))
		replace[filepath.Join(repository(), c.file)] = file
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		w.t.Fatal(err)
	}
	file, program := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "paictl")
	w.write(file, overlay)
	w.run(repository(), "go", "build", "-buildvcs=false", "-overlay", file, "-o", program, "./cmd/paictl")
	return program
}

// change changes a copy of the source tree.
func (w workshop) change(tree string, c change) {
	w.t.Helper()
	w.write(filepath.Join(tree, c.file), w.changed(tree, c))
}

// sources are those of a commit.
func (w workshop) sources(commit string) string {
	w.t.Helper()
	if err := exec.Command("git", "-C", repository(), "cat-file", "-e", commit+"^{commit}").Run(); err != nil {
		w.t.Fatalf("commit %s, which this test builds, is not in the history; run: git fetch --unshallow (%v)", commit, err)
	}
	tree := w.newDir("sources")
	w.shell(repository(), "git archive "+commit+" | tar -x -C "+tree)
	return tree
}

// cache is a cache in which another build of a release does not replace that of
// the common one. What was compiled for the common one is not compiled again.
func (w workshop) cache() string {
	w.t.Helper()
	common := os.Getenv("PAI_CACHE_DIR")
	if common == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			w.t.Fatal(err)
		}
		common = filepath.Join(user, "pai")
	}
	own := w.newDir("cache")
	for _, dir := range []string{"base", "debian"} { // named by their content
		if err := os.Symlink(filepath.Join(common, dir), filepath.Join(own, dir)); err != nil {
			w.t.Fatal(err)
		}
	}
	// Hard links are safe: a build replaces files, and writes into none.
	w.shell(common, "mkdir -p "+own+"/programs; cp -al programs/[0-9a-f]* "+own+"/programs/ || cp -a programs/[0-9a-f]* "+own+"/programs/")
	return own
}

func (w workshop) newDir(name string) string {
	w.t.Helper()
	dir, err := os.MkdirTemp(w.dir, name+"-")
	if err != nil {
		w.t.Fatal(err)
	}
	return dir
}

func (w workshop) shell(dir, script string) {
	w.t.Helper()
	w.run(dir, "bash", "-euo", "pipefail", "-c", script)
}

func (w workshop) run(dir, name string, args ...string) {
	w.t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-trimpath")
	if out, err := cmd.CombinedOutput(); err != nil {
		w.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}
