package config_test

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/test/configtest"
)

func load(t *rapid.T, dir string) config.Config {
	c, err := config.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	c.Dir = ""
	return *c
}

func contents(t *rapid.T, dir string) map[string]string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, e := range entries {
		if e.IsDir() {
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all[e.Name()] = string(data)
	}
	return all
}

// Files of PAI v0.9 keep their meaning in an upgrade, except for the two
// versions. Comments stay, a second upgrade changes nothing, and the previous
// files are kept as they were.
func TestUpgradeKeepsTheMeaning(t *testing.T) {
	t.Parallel()
	root := configtest.Root(t)
	rapid.Check(t, func(t *rapid.T) {
		c := configtest.Older().Draw(t, "configuration")
		dir := c.Write(t, root)
		if got := load(t, dir); !reflect.DeepEqual(got, c.Want) {
			t.Fatalf("read  %+v\nwant  %+v", got, c.Want)
		}
		aim := config.MigrationTarget{Pair: pai.Pair{Services: "v0.10", Kubernetes: "v0.10-pai"}}
		u, err := config.Upgrade(dir, aim)
		if err != nil {
			t.Fatal(err)
		}
		previous, err := u.Write()
		if err != nil {
			t.Fatal(err)
		}
		want := c.Want
		want.Layout.SchemaVersion = 2
		want.Kubernetes.Version, want.Services.Cluster.Common.Release = "v0.10-pai", "v0.10"
		if got := load(t, dir); !reflect.DeepEqual(got, want) {
			t.Fatalf("after the upgrade %+v\nwant %+v", got, want)
		}
		once := contents(t, dir)
		for name, comments := range c.Comments {
			if name == config.ClusterFile {
				name = config.LayoutFile
			}
			for _, comment := range comments {
				if !strings.Contains(once[name], comment) {
					t.Fatalf("%s lost %q:\n%s", name, comment, once[name])
				}
			}
		}
		if kept := contents(t, previous); !reflect.DeepEqual(kept, c.Files) {
			t.Fatalf("kept %v", kept)
		}
		again, err := config.Upgrade(dir, aim)
		if err != nil || again.Differs() || len(again.Edits) > 0 {
			t.Fatalf("a second upgrade changes %v, %v", again.Edits, err)
		}
	})
}

// mistaken is a case with lines that are lost, doubled, exchanged, or overwritten.
func mistaken() *rapid.Generator[configtest.Case] {
	return rapid.Custom(func(t *rapid.T) configtest.Case {
		c := configtest.Older().Draw(t, "configuration")
		for range rapid.IntRange(1, 4).Draw(t, "mistakes") {
			name := rapid.SampledFrom([]string{config.ClusterFile, config.KubernetesFile, config.ServicesFile}).Draw(t, "file")
			lines := strings.SplitAfter(c.Files[name], "\n")
			at := rapid.IntRange(0, len(lines)-1).Draw(t, "line")
			to := rapid.IntRange(0, len(lines)-1).Draw(t, "other")
			switch rapid.IntRange(0, 4).Draw(t, "mistake") {
			case 0:
				lines[at] = ""
			case 1:
				lines[to] += lines[at]
			case 2:
				lines[at], lines[to] = lines[to], lines[at]
			case 3:
				key, _, _ := strings.Cut(lines[at], ":")
				lines[at] = key + ": " + rapid.SampledFrom([]string{"~", "{}", "[]", "[a, b]", "{a: b}", "x", "7", "&a b", "*a", "|\n      text\n"}).Draw(t, "value") + "\n"
			default:
				lines[at] = " " + lines[at]
			}
			c.Files[name] = strings.Join(lines, "")
		}
		return c
	})
}

// Any input is upgraded, or refused with the directory as it was. A second
// upgrade changes nothing, and a valid configuration keeps its meaning.
func TestUpgradeOfMistakesIsCompleteOrRefused(t *testing.T) {
	t.Parallel()
	root := configtest.Root(t)
	rapid.Check(t, func(t *rapid.T) {
		c := mistaken().Draw(t, "configuration")
		dir := c.Write(t, root)
		before, wrong := config.Load(dir)
		aim := config.MigrationTarget{Pair: pai.Pair{Services: "v0.10", Kubernetes: "v0.10-pai"}}
		u, err := config.Upgrade(dir, aim)
		if err != nil {
			if pai.CodeOf(err) != pai.CodeInvalid || wrong == nil || !reflect.DeepEqual(contents(t, dir), c.Files) {
				t.Fatalf("%v", err)
			}
			return
		}
		if _, err := u.Write(); err != nil {
			t.Fatal(err)
		}
		again, err := config.Upgrade(dir, aim)
		if err != nil || again.Differs() || len(again.Edits) > 0 {
			t.Fatalf("a second upgrade changes %v, %v\n%v", again.Edits, err, contents(t, dir))
		}
		if wrong != nil {
			return
		}
		after := load(t, dir)
		before.Dir = ""
		for _, c := range []*config.Config{before, &after} {
			c.Layout.SchemaVersion, c.Kubernetes.Version, c.Services.Cluster.Common.Release = 0, "", ""
		}
		if !reflect.DeepEqual(*before, after) {
			t.Fatalf("before %+v\nafter  %+v", *before, after)
		}
	})
}
