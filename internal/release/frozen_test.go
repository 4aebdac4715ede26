package release

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pai.dev/pai/internal/pai"
)

// tinyPaictl is the paictl of the commit in these tests. Its release build copies
// a bundle, and appends to a file of the cache that it ran.
const tinyPaictl = `package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	if len(os.Args) == 1 {
		fmt.Println("the paictl of the commit")
		return
	}
	cache, name, source := os.Getenv("PAI_CACHE_DIR"), os.Args[3], os.Args[5]
	if want := "release build " + name + " --source " + source + " --key " + os.Args[7] + " -o json"; strings.Join(os.Args[1:], " ") != want {
		fail("unexpected arguments")
	}
	ran, err := os.OpenFile(filepath.Join(cache, "ran"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	check(err)
	fmt.Fprintln(ran, name)
	fmt.Fprintf(os.Stderr, "release %s: 0 of 1 components\n", name)
	bundle, err := os.ReadFile(filepath.Join(source, "bundle"))
	check(err)
	switch text := strings.TrimSpace(string(bundle)); text {
	case "fails":
		fail("the compiler is missing\n  → run: apt-get install gcc\n    and build again")
	case "hangs":
		time.Sleep(time.Minute)
	default:
		dir := filepath.Join(cache, "bundles", name)
		check(os.RemoveAll(dir))
		check(os.CopyFS(dir, os.DirFS(text)))
		index, err := os.ReadFile(filepath.Join(dir, "index.json"))
		check(err)
		fmt.Printf("[{\"release\": %q, \"digest\": \"sha256:%x\", \"dir\": %q}]\n", name, sha256.Sum256(index), dir)
	}
}

func check(err error) {
	if err != nil {
		fail(err.Error())
	}
}

func fail(text string) {
	fmt.Fprintln(os.Stderr, "paictl: "+text)
	os.Exit(1)
}
`

const frozenRow = `apiVersion: pai.dev/v1
kind: Release
metadata: {name: v0.1}
services: {version: v0.1, upgradableSince: v0.1}
kubernetes: {version: v0.1-pai, upstream: v1.2.3, compatibleSince: v0.1-pai, upgradableSince: v0.1-pai}
configuration: {schema: 2}
commit: COMMIT
`

// frozenSource is a source tree with a git history, in which an older commit
// builds release v0.1 by copying a bundle.
func frozenSource(t *testing.T, bundle string) string {
	t.Helper()
	source := filepath.Join(t.TempDir(), "source")
	for name, content := range map[string]string{
		"go.mod": "module example.test/tiny\n\ngo 1.26\n", "cmd/paictl/main.go": tinyPaictl, "bundle": bundle + "\n",
		"releases/embed.go": "package releases\n",
	} {
		replaceFile(t, filepath.Join(source, name), content)
	}
	git(t, source, "init", "--quiet")
	commitAll(t, source)
	freeze(t, source, strings.ReplaceAll(frozenRow, "COMMIT", git(t, source, "rev-parse", "HEAD")))
	return source
}

// freeze changes everything of the tree that the commit built from.
func freeze(t *testing.T, source, manifest string) {
	t.Helper()
	replaceFile(t, filepath.Join(source, "releases/v0.1/release.yaml"), manifest)
	replaceFile(t, filepath.Join(source, "cmd/paictl/main.go"), "package main\n\nfunc main() { panic(\"the paictl of the tree\") }\n")
	replaceFile(t, filepath.Join(source, "bundle"), "of the tree\n")
	commitAll(t, source)
}

func commitAll(t *testing.T, source string) {
	t.Helper()
	git(t, source, "add", "--all")
	git(t, source, "-c", "user.name=ada", "-c", "user.email=ada@example.test", "commit", "--quiet", "-m", "change")
}

func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	out, err := history{dir}.run(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// frozenOptions are fixtureOptions with the file of the key.
func frozenOptions(t *testing.T, source, cache string, log *strings.Builder) BuildOptions {
	t.Helper()
	o := fixtureOptions(source, cache, log)
	file := filepath.Join(t.TempDir(), "bundle.key")
	key, err := EnsureKey(file)
	if err != nil {
		t.Fatal(err)
	}
	o.Key, o.KeyFile = key, file
	return o
}

// signedBundle is a bundle of release v0.1 that the key of the options signed.
func signedBundle(t *testing.T, o BuildOptions) string {
	t.Helper()
	dir := fixtureBundle(t)
	b, _, err := openUnverified(dir)
	if err == nil {
		err = sign(dir, b.Digest(), o.Key)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// runs counts how often the paictl of the commit built a release.
func runs(t *testing.T, cache string) int {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(cache, "ran"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return strings.Count(string(data), "\n")
}

func TestFrozenReleaseIsBuiltByItsCommit(t *testing.T) {
	t.Parallel()
	cache := t.TempDir()
	var log strings.Builder
	o := frozenOptions(t, "", cache, &log)
	bundle := signedBundle(t, o)
	o.Source = frozenSource(t, bundle)
	before := git(t, o.Source, "status", "--porcelain", "--ignored") + listed(t, filepath.Join(o.Source, ".git"))

	build := func(wantRuns int, quiet bool) Built {
		t.Helper()
		log.Reset()
		built, err := Build(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if got := runs(t, cache); got != wantRuns {
			t.Errorf("the paictl of the commit built %d times, want %d", got, wantRuns)
		}
		if quiet != (log.Len() == 0) {
			t.Errorf("got progress %q, want none: %t", log.String(), quiet)
		}
		if b, err := Open(built.Dir, public(o.Key)); err != nil || b.Verify(t.Context()) != nil {
			t.Errorf("the bundle does not verify: %v", err)
		}
		return built
	}
	built := build(1, false)
	if !strings.Contains(log.String(), "\nrelease v0.1: 0 of 1 components\n") {
		t.Errorf("the progress of the older paictl was not passed on:\n%s", log.String())
	}
	if out, err := exec.Command(built.Paictl).Output(); err != nil || string(out) != "the paictl of the commit\n" {
		t.Errorf("%s printed %q, %v", built.Paictl, out, err)
	}
	if info, err := os.Stat(built.Paictl); err != nil || info.Mode().Perm() != 0o755 || filepath.Base(filepath.Dir(built.Paictl)) != git(t, o.Source, "rev-parse", "HEAD~1") {
		t.Errorf("%s: %v, %v", built.Paictl, info, err)
	}
	build(1, true)

	// Another tree replaced the bundle; a blob is damaged; the program is damaged.
	if err := os.RemoveAll(built.Dir); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(built.Dir, os.DirFS("testdata/bundle-c82e023")); err != nil {
		t.Fatal(err)
	}
	build(2, false)
	flip(t, layerOf(t, openBundle(t, built.Dir, o), KindImage, "tool"), 5000)
	build(3, false)
	flip(t, built.Paictl, 5000)
	build(3, false)
	build(3, true)

	// A second key is added without a build.
	other := frozenOptions(t, o.Source, cache, &log)
	if _, err := Build(t.Context(), other); err != nil || runs(t, cache) != 3 {
		t.Errorf("a build with another key: %v, %d builds", err, runs(t, cache))
	}
	openBundle(t, built.Dir, o)
	openBundle(t, built.Dir, other)
	if after := git(t, o.Source, "status", "--porcelain", "--ignored") + listed(t, filepath.Join(o.Source, ".git")); after != before {
		t.Errorf("the build changed the repository: %s", after)
	}
}

func openBundle(t *testing.T, dir string, o BuildOptions) *Bundle {
	t.Helper()
	b, err := Open(dir, public(o.Key))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// listed are the names of the files below dir.
func listed(t *testing.T, dir string) string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(p string, _ os.DirEntry, err error) error {
		names = append(names, p)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(names, "\n")
}

func TestFrozenBuildRemovesRemainsOfKilledBuilds(t *testing.T) {
	t.Parallel()
	cache := t.TempDir()
	o := frozenOptions(t, "", cache, &strings.Builder{})
	o.Source = frozenSource(t, "hangs")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o.Progress = func(_ string, args ...any) {
		if line, ok := args[0].(string); ok && strings.Contains(line, "0 of 1 components") {
			cancel()
		}
	}
	start := time.Now()
	if _, err := Build(ctx, o); !errors.Is(err, context.Canceled) || time.Since(start) > 45*time.Second {
		t.Errorf("got %v after %s, want the end of the context at once", err, time.Since(start))
	}
	commit := git(t, o.Source, "rev-parse", "HEAD~1")
	remains := filepath.Join(cache, "frozen", "."+commit+".new-1", "source")
	if err := os.MkdirAll(remains, 0o755); err != nil {
		t.Fatal(err)
	}
	// The commit that hangs is replaced by one that builds.
	bundle := signedBundle(t, o)
	replaceFile(t, filepath.Join(o.Source, "cmd/paictl/main.go"), tinyPaictl)
	replaceFile(t, filepath.Join(o.Source, "bundle"), bundle+"\n")
	commitAll(t, o.Source)
	next := git(t, o.Source, "rev-parse", "HEAD")
	freeze(t, o.Source, strings.ReplaceAll(frozenRow, "COMMIT", next))
	if err := os.Rename(filepath.Dir(remains), filepath.Join(cache, "frozen", "."+next+".new-1")); err != nil {
		t.Fatal(err)
	}
	o.Progress = func(string, ...any) {}
	if _, err := Build(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	// A compiler that outlived its builder has made its directory again.
	if err := os.MkdirAll(filepath.Join(cache, "frozen", "."+next+".new-2", "paictl"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Build(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if left, err := filepath.Glob(filepath.Join(cache, "frozen", ".*.new-*")); err != nil || len(left) > 0 {
		t.Errorf("remains of builds: %v, %v", left, err)
	}
}

func TestFrozenReleaseHasOneBuilder(t *testing.T) {
	t.Parallel()
	cache := t.TempDir()
	o := frozenOptions(t, "", cache, &strings.Builder{})
	o.Source = frozenSource(t, signedBundle(t, o))
	o.Progress = func(string, ...any) {}
	var builders sync.WaitGroup
	for range 3 {
		builders.Go(func() {
			if _, err := Build(t.Context(), o); err != nil {
				t.Error(err)
			}
		})
	}
	builders.Wait()
	if got := runs(t, cache); got != 1 {
		t.Errorf("three builders built %d times, want once", got)
	}
}

func TestFrozenBuildFails(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name         string
		bundle, row  func(string) string
		want, next   string
		notOurBundle bool
	}{
		{name: "the paictl of the commit fails", bundle: func(string) string { return "fails" },
			want: "exit status 1\npaictl: the compiler is missing", next: "run: apt-get install gcc\nand build again"},
		{name: "the commit builds other versions", row: func(s string) string { return strings.ReplaceAll(s, "v1.2.3", "v1.2.4") },
			want: "builds release v0.1 with services v0.1, Kubernetes v0.1-pai (v1.2.3), and configuration schema 2; want v0.1, v0.1-pai (v1.2.4), and 2",
			next: "name the commit that builds release v0.1 in releases/v0.1/release.yaml"},
		{name: "the bundle is not signed", notOurBundle: true, want: "open the bundle that commit"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cache := t.TempDir()
			o := frozenOptions(t, "", cache, &strings.Builder{})
			bundle := signedBundle(t, o)
			if c.notOurBundle {
				bundle = fixtureBundle(t)
			}
			if c.bundle != nil {
				bundle = c.bundle(bundle)
			}
			o.Source = frozenSource(t, bundle)
			if c.row != nil {
				freeze(t, o.Source, c.row(strings.ReplaceAll(frozenRow, "COMMIT", git(t, o.Source, "rev-parse", "HEAD~1"))))
			}
			_, err := Build(t.Context(), o)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			var e *pai.Error
			if c.next != "" && (!errors.As(err, &e) || e.Next != c.next) {
				t.Errorf("got the hint %q, want %q", e.Next, c.next)
			}
			if _, err := os.Stat(filepath.Join(cache, "bundles", ".v0.1.commit")); err == nil {
				t.Error("a bundle was recorded that the commit did not build")
			}
		})
	}
}
