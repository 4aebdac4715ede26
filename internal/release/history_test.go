package release

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pai.dev/pai/internal/pai"
)

func TestBuildWithoutHistorySaysWhatToDo(t *testing.T) {
	for _, c := range []struct {
		name       string
		change     func(t *testing.T, source string) string
		want, next string
	}{
		{"no history", func(t *testing.T, source string) string {
			if err := os.RemoveAll(filepath.Join(source, ".git")); err != nil {
				t.Fatal(err)
			}
			return source
		}, "has no git history", "name a clone of the PAI repository with --source"},
		{"a shallow clone", func(t *testing.T, source string) string {
			clone := filepath.Join(t.TempDir(), "clone")
			git(t, source, "clone", "--quiet", "--depth=1", "file://"+source, clone)
			return clone
		}, "is shallow", "fetch --unshallow"},
		{"another history", func(t *testing.T, source string) string {
			if err := os.RemoveAll(filepath.Join(source, ".git")); err != nil {
				t.Fatal(err)
			}
			git(t, source, "init", "--quiet")
			commitAll(t, source)
			return source
		}, "not found in the git history of", "fetch --all"},
		{"no git", func(t *testing.T, source string) string {
			t.Setenv("PATH", t.TempDir())
			return source
		}, "are read with git", "run: apt-get install git"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := frozenOptions(t, frozenSource(t, "fails"), t.TempDir(), &strings.Builder{})
			o.Source = c.change(t, o.Source)
			_, err := Build(t.Context(), o)
			var e *pai.Error
			if !errors.As(err, &e) || !strings.Contains(err.Error(), c.want) || !strings.Contains(e.Next, c.next) || !strings.Contains(e.Next, "\nor build and export the release on a host with the history") {
				t.Errorf("got %v, want %q and the hint %q", err, c.want, c.next)
			}
			if left, err := filepath.Glob(filepath.Join(o.CacheDir, "frozen", ".*.new-*")); err != nil || len(left) > 0 {
				t.Errorf("remains of the build: %v, %v", left, err)
			}
		})
	}
}

// What surrounds the repository does not change what a commit contains.
func TestExtractReadsTheCommitAlone(t *testing.T) {
	source := t.TempDir()
	replaceFile(t, filepath.Join(source, "lines"), "one\ntwo\n")
	replaceFile(t, filepath.Join(source, "bin/run.sh"), "#!/bin/sh\n")
	replaceFile(t, filepath.Join(source, ".gitattributes"), "lines text\n")
	if err := errors.Join(os.Chmod(filepath.Join(source, "bin/run.sh"), 0o755), os.Symlink("lines", filepath.Join(source, "link"))); err != nil {
		t.Fatal(err)
	}
	git(t, source, "init", "--quiet")
	commitAll(t, source)
	commit := git(t, source, "rev-parse", "HEAD")
	// Later files, settings of the operator, a replacement, and the variables of a hook.
	replaceFile(t, filepath.Join(source, "lines"), "changed\n")
	replaceFile(t, filepath.Join(source, "untracked"), "")
	commitAll(t, source)
	git(t, source, "config", "core.autocrlf", "true")
	git(t, source, "replace", commit, git(t, source, "rev-parse", "HEAD"))
	t.Setenv("GIT_DIR", t.TempDir())

	to := t.TempDir()
	if err := (history{source}).extract(t.Context(), commit, to); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(filepath.Join(to, "link")); err != nil || string(data) != "one\ntwo\n" {
		t.Errorf("the link leads to %q, %v", data, err)
	}
	if err := exec.Command(filepath.Join(to, "bin/run.sh")).Run(); err != nil {
		t.Errorf("a program of the commit does not run: %v", err)
	}
	if _, err := os.Stat(filepath.Join(to, "untracked")); err == nil {
		t.Error("a later file was extracted")
	}
	if err := (history{source}).extract(t.Context(), commit, filepath.Join(to, "missing")); err == nil {
		t.Error("got no error for a directory that does not exist")
	}
}
