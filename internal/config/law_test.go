package config_test

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/config/configtest"
	"pai.dev/pai/internal/pai"
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

// The law of configurations: what PAI v0.9's files mean is what they mean after
// an upgrade, but for the two versions; comments stay; twice is once; the
// former files are kept as they were.
func TestUpgradeKeepsTheMeaning(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		c := configtest.Older().Draw(t, "configuration")
		dir := c.Folder(t, root)
		if got := load(t, dir); !reflect.DeepEqual(got, c.Want) {
			t.Fatalf("read  %+v\nwant  %+v", got, c.Want)
		}
		aim := config.Aim{Pair: pai.Pair{Services: "v0.10", Kubernetes: "v0.10-pai"}}
		u, err := config.Upgrade(dir, aim)
		if err != nil {
			t.Fatal(err)
		}
		former, err := u.Write()
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
		if kept := contents(t, former); !reflect.DeepEqual(kept, c.Files) {
			t.Fatalf("kept %v", kept)
		}
		again, err := config.Upgrade(dir, aim)
		if err != nil || again.Differs() || len(again.Changes) > 0 {
			t.Fatalf("a second upgrade changes %v, %v", again.Changes, err)
		}
	})
}
