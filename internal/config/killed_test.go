package config

import (
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"pai.dev/pai/internal/pai"
)

// An upgrade that is killed after any of its steps leaves a configuration that
// means the same, and is finished by the next.
func TestUpgradeKilledAnywhere(t *testing.T) {
	t.Parallel()
	root := inMemory(t)
	rapid.Check(t, func(t *rapid.T) {
		c := anyConfig().Draw(t, "configuration")
		c.Layout.SchemaVersion = 1
		parent, err := os.MkdirTemp(root, "")
		if err != nil {
			t.Fatal(err)
		}
		write := func(name string) string {
			dir := filepath.Join(parent, name)
			if err := Write(dir, c); err != nil {
				t.Fatal(err)
			}
			return dir
		}
		aim := MigrationTarget{Pair: pai.Pair{Services: "v99.0", Kubernetes: "v99.0-pai"}}
		whole := write("whole")
		u := mustUpgrade(t, whole, aim)
		if _, err := u.Write(); err != nil {
			t.Fatal(err)
		}
		want := read(t, whole)

		dir := write("killed")
		u = mustUpgrade(t, dir, aim)
		steps := u.steps()
		for _, step := range steps[:rapid.IntRange(0, len(steps)).Draw(t, "steps before the kill")] {
			if err := step(); err != nil {
				t.Fatal(err)
			}
		}
		between, err := Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		c.Dir, c.Layout.SchemaVersion, between.Layout.SchemaVersion = dir, 0, 0
		c.Kubernetes.Version, c.Services.Cluster.Common.Release = between.Kubernetes.Version, between.Services.Cluster.Common.Release
		if !reflect.DeepEqual(*between, c) {
			t.Fatalf("in between it reads %+v\nwant %+v", *between, c)
		}
		if _, err := mustUpgrade(t, dir, aim).Write(); err != nil {
			t.Fatal(err)
		}
		if got := read(t, dir); !maps.Equal(got, want) {
			t.Fatalf("finished: %v\nwant: %v", got, want)
		}
	})
}

func mustUpgrade(t *rapid.T, dir string, aim MigrationTarget) *Upgraded {
	u, err := Upgrade(dir, aim)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func read(t *rapid.T, dir string) map[string]string {
	content, problems := readFiles(dir)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	all := map[string]string{}
	for name, data := range content {
		all[name] = string(data)
	}
	return all
}

// inMemory is configtest.Root, which tests inside this package cannot use.
func inMemory(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "pai-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}
