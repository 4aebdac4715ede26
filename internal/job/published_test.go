package job

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pai.dev/pai/internal/golden"
)

// refusedFiles are the published jobs that are refused, with the reason. All others are
// accepted without a warning.
var refusedFiles = map[string]string{
	// A template of a stress test: {{jobname}} is no name.
	"contrib_api-stress-test_roles_locust_config_files_job.yml": "name: must be a string, not a mapping",
}

func publishedFiles(t testing.TB) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob("testdata/openpai/*.y*ml")
	if err != nil || len(names) != 33 {
		t.Fatalf("got %d files, %v, want 33", len(names), err)
	}
	files := map[string][]byte{}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files[filepath.Base(name)] = text
	}
	return files
}

// Published jobs of the historical PAI are accepted, and mean what they meant. The golden
// file has what each of them is here.
func TestPublishedJobs(t *testing.T) {
	t.Parallel()
	var all strings.Builder
	files := publishedFiles(t)
	var names []string
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		spec, warnings, err := Parse(files[name], ParseOptions{VirtualClusters: []string{"default", "cpu"}})
		if reason := refusedFiles[name]; reason != "" {
			if err == nil || !strings.Contains(err.Error(), reason) {
				t.Errorf("%s: got %v, want a refusal with %q", name, err, reason)
			}
			fmt.Fprintf(&all, "== %s\nrefused: %s\n", name, reason)
			continue
		}
		if err != nil || len(warnings) > 0 {
			t.Errorf("%s: %v, %v", name, err, warnings)
			continue
		}
		spec.SSHKey = KeyPair{"private", "public"}
		if _, err := spec.Objects("alice", files[name], "texts"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		fmt.Fprintf(&all, "== %s\n", name)
		for _, r := range spec.TaskRoles {
			fmt.Fprintf(&all, "%s: %d × %s, %d mcpu, %d MiB, %d GPU, shm %d, fails with %d, succeeds with %d\n", r.Name, r.Instances, r.Image, r.CPUMilli, r.MemoryMB, r.GPU, r.ShmMB, r.MinFailed, r.MinSucceeded)
			for _, line := range strings.Split(strings.TrimRight(taskScript(r), "\n"), "\n") {
				all.WriteString("  | " + line + "\n")
			}
		}
		for _, e := range spec.Effects {
			fmt.Fprintf(&all, "%s: %s\n", e.Path, e.Effect)
		}
	}
	golden.Check(t, "testdata/openpai.golden", all.String())
}

// FuzzParse feeds the reader of jobs with random input: it returns a job that has
// objects, or problems.
func FuzzParse(f *testing.F) {
	for _, text := range publishedFiles(f) {
		f.Add(text)
	}
	f.Add([]byte(good))
	f.Add([]byte(everything))
	f.Fuzz(func(t *testing.T, text []byte) {
		spec, _, err := Parse(text, ParseOptions{})
		if err != nil {
			return
		}
		spec.SSHKey = KeyPair{"private", "public"}
		objects, err := spec.Objects("alice", text, "texts")
		if err != nil {
			if !strings.Contains(err.Error(), "taskRoles") {
				t.Fatalf("accepted, and then: %v", err)
			}
			return
		}
		if masked := spec.masked; masked != nil {
			if _, _, err := Parse(masked, ParseOptions{}); err != nil && strings.Contains(err.Error(), "YAML") {
				t.Fatalf("the masked text cannot be read: %v\n%s", err, masked)
			}
		}
		if objects.JobSet == nil || objects.Texts == nil {
			t.Fatal("objects are missing")
		}
	})
}
