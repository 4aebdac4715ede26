package release

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pai.dev/pai/internal/pai"
)

// secondRelease shares every label with the release of the fixture but those of
// the release itself.
const secondRelease = `apiVersion: pai.dev/v1
kind: Release
metadata: {name: v0.2}
services: {version: v0.2, upgradableSince: v0.1}
kubernetes: {version: v0.2-pai, upstream: v1.2.4, compatibleSince: v0.1-pai, upgradableSince: v0.1-pai}
configuration: {schema: 2}
programs:
  - {name: pair, version: v1.2.3, component: components/pair/v1.2.3}
images:
  - {name: tool, version: v0.2, component: cmd/tool, user: "9:9"}
  - {name: other, version: v1, component: cmd/tool, user: "0:0"}
serviceList:
  - {name: web, version: v1.2.3, chart: {component: components/pair/v1.2.3, path: charts/web}}
  - {name: plain, version: v0.1}
`

func TestLabelsMeanTheSameInEveryRelease(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		old, new string // of the manifest
		chart    string // a file of the chart that the second release replaces
		want     []string
	}{
		{name: "all shared labels have the same content"},
		{name: "a default that is written down", old: `component: cmd/tool, user: "0:0"`, new: `component: cmd/tool, entrypoint: /other, user: "0:0"`},
		{name: "different content has a different label", old: "version: v1.2.3, component: components/pair/v1.2.3", new: "version: v1.2.4, component: components/pair/v1.2.4"},
		{name: "a program", old: "version: v1.2.3, component: components/pair/v1.2.3", new: "version: v1.2.3, component: components/pair/v1.2.3-patched",
			want: []string{"program pair v1.2.3: release v0.2 has component components/pair/v1.2.3-patched, release v0.1 has component components/pair/v1.2.3"}},
		{name: "an image", old: "component: cmd/tool, user: \"0:0\"", new: "component: cmd/tool2, user: \"0:0\"",
			want: []string{"image other v1: release v0.2 has component cmd/tool2,", "release v0.1 has component cmd/tool,"}},
		{name: "the user of an image", old: `"0:0"`, new: `"1:1"`, want: []string{"image other v1", "user 1:1", "user 0:0"}},
		{name: "the shell of an image", old: `"0:0"`, new: `"0:0", shell: true`, want: []string{"image other v1", "with a shell"}},
		{name: "the program of an image", old: `user: "0:0"`, new: `entrypoint: /bin/other, user: "0:0"`, want: []string{"image other v1", "program /bin/other", "program /other"}},
		{name: "a chart", old: "path: charts/web", new: "path: charts/web2", want: []string{"chart of service web v1.2.3", "charts/web2", "chart charts/web"}},
		{name: "a file of a chart", chart: "Chart.yaml", want: []string{"chart of service plain v0.1", "its own Chart.yaml"}},
		{name: "the programs of a Kubernetes version", old: "version: v0.2-pai, upstream: v1.2.4", new: "version: v0.1-pai, upstream: v1.2.3"},
		{name: "the programs of a Kubernetes version differ", old: "version: v0.2-pai, upstream: v1.2.4, compatibleSince: v0.1-pai, upgradableSince: v0.1-pai}\nconfiguration: {schema: 2}\nprograms:",
			new:  "version: v0.1-pai, upstream: v1.2.3, compatibleSince: v0.1-pai, upgradableSince: v0.1-pai}\nconfiguration: {schema: 2}\nprograms:\n  - {name: more, version: v1, component: cmd/tool}",
			want: []string{"Kubernetes v0.1-pai: release v0.2 has the programs more v1, pair v1.2.3, release v0.1 has the programs pair v1.2.3"}},
		{name: "all at once", old: "components/pair/v1.2.3", new: "components/pair/v9",
			want: []string{"program pair v1.2.3", "chart of service web v1.2.3"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			source := sourceFixture(t)
			manifest := strings.ReplaceAll(secondRelease, c.old, c.new)
			if c.old == "" {
				manifest = secondRelease
			} else if manifest == secondRelease {
				t.Fatalf("%q is not in the manifest", c.old)
			}
			replaceFile(t, filepath.Join(source, "releases/v0.2/release.yaml"), manifest)
			if c.chart != "" {
				replaceFile(t, filepath.Join(source, "releases/v0.2/services/plain/chart", c.chart), "name: other\n")
			}
			o := fixtureOptions(source, t.TempDir(), &strings.Builder{})
			o.Release = "v0.2"
			b := &builder{BuildOptions: o}
			m, _, err := b.manifest()
			if err != nil {
				t.Fatal(err)
			}
			err = b.checkLabels(m)
			if (err != nil) != (len(c.want) > 0) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %q in it", err, want)
				}
			}
			if e, ok := err.(*pai.Error); err != nil && (!ok || e.Code != pai.CodeInvalid || !strings.Contains(e.Next, "releases/v0.2/release.yaml")) {
				t.Errorf("got the error %#v, want an invalid release with what to do next", err)
			}
		})
	}
}

func TestBuildRefusesLabelOfOtherContent(t *testing.T) {
	t.Parallel()
	source, cache := sourceFixture(t), t.TempDir()
	replaceFile(t, filepath.Join(source, "releases/v0.2/release.yaml"), strings.Replace(secondRelease, `"0:0"`, `"1:1"`, 1))
	for _, release := range []string{"v0.1", "v0.2"} {
		o := fixtureOptions(source, cache, &strings.Builder{})
		o.Release = release
		if _, err := Build(context.Background(), o); err == nil || !strings.Contains(err.Error(), "image other v1") {
			t.Errorf("build %s: got %v, want an error with the image", release, err)
		}
	}
	if entries, err := os.ReadDir(cache); err != nil || len(entries) > 0 {
		t.Errorf("the cache has %v after refused builds, %v", entries, err)
	}
}

// A bundle that was built from other sources is named, and blocks nothing.
func TestBuildReportsOutdatedBundles(t *testing.T) {
	t.Parallel()
	source, cache := sourceFixture(t), t.TempDir()
	fixtureBuild(t, source, cache)
	replaceFile(t, filepath.Join(source, "releases/v0.2/release.yaml"), secondRelease)
	build := func() string {
		t.Helper()
		var log strings.Builder
		o := fixtureOptions(source, cache, &log)
		o.Release = "v0.2"
		if _, err := Build(context.Background(), o); err != nil {
			t.Fatal(err)
		}
		return log.String()
	}
	if said := build(); strings.Contains(said, "other sources") {
		t.Errorf("without a change, the build printed:\n%s", said)
	}
	replaceFile(t, filepath.Join(source, "internal/word/word.go"), "package word\n\nconst Hello = \"bye\"\n")
	const want = "the bundle of release v0.1 was built from other sources of image other v1; to build it again, run: paictl release build v0.1\n"
	if said := build(); !strings.Contains(said, want) {
		t.Errorf("the build printed:\n%s\nwant:\n%s", said, want)
	}
	// A frozen release cannot be built from these sources.
	replaceFile(t, filepath.Join(source, "releases/v0.1/release.yaml"), strings.ReplaceAll(frozenRow, "COMMIT", strings.Repeat("0", 40)))
	replaceFile(t, filepath.Join(source, "internal/word/word.go"), "package word\n\nconst Hello = \"again\"\n")
	const frozen = "image other v1 differ from those of release v0.1, which is frozen; give them new versions in releases/v0.2/release.yaml\n"
	if said := build(); !strings.Contains(said, frozen) {
		t.Errorf("the build printed:\n%s\nwant:\n%s", said, frozen)
	}
}
