package layout_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"pai.dev/pai/internal/layout"
)

// Every program of a component is known as a file of PAI; else machine prune would
// keep the directories of its versions as foreign.
func TestVersionFilesHaveThePrograms(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../components/*/*/component.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no component found: %v", err)
	}
	found := 0
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var c struct {
			Programs map[string]string `json:"programs"`
		}
		if err := yaml.Unmarshal(data, &c); err != nil {
			t.Fatal(err)
		}
		for name := range c.Programs {
			if !strings.HasPrefix(name, "bin/") && !strings.HasPrefix(name, "cni/") {
				continue // in an image
			}
			found++
			if !layout.IsVersionFile(name) {
				t.Errorf("%s: got an unknown program %s, want it in layout.IsVersionFile", file, name)
			}
		}
	}
	if found < 10 {
		t.Errorf("got %d programs", found)
	}
}

// What older releases left in the directory of a version is known as well.
func TestVersionFilesHaveThoseOfOlderReleases(t *testing.T) {
	t.Parallel()
	found := 0
	for _, state := range []string{"booted", "upgraded", "killed"} {
		root := filepath.Join("../../test/older/testdata", state, "machine", layout.ProgramsDir)
		err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			version, file, _ := strings.Cut(strings.TrimPrefix(path, root+"/"), "/")
			if err != nil || entry.IsDir() || layout.VersionDir(version) == layout.RolesDir {
				return err
			}
			found++
			if !layout.IsVersionFile(file) {
				t.Errorf("%s: got an unknown file, want it in layout.IsVersionFile", path)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if found < 20 {
		t.Errorf("got %d files", found)
	}
}

func TestVersionFiles(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]bool{
		"release.json": true, "bin/kubelet": true, "bin/network": true, "bin/api-proxy": true, "run/etcd-a": true,
		"etc/containerd.toml": true, "etc/.pai-tmp.1": true,
		"bin": false, "bin/": false, "bin/mine": false, "bin/kubelet/x": false, "cni/mine": false, "cni/": false, "run/mine": false,
		"etc/mine": false, "mine": false, "mine/.pai-tmp.1": false, "": false,
	} {
		if got := layout.IsVersionFile(path); got != want {
			t.Errorf("%q: got %v, want %v", path, got, want)
		}
	}
}
