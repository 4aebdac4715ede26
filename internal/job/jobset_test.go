package job

import (
	"encoding/json"
	"os"
	"testing"

	"sigs.k8s.io/yaml"

	"pai.dev/pai/internal/golden"
)

// A change here changes the objects of new jobs. Check its effect on jobs that an
// older release started.
func TestJobSetGolden(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/train.yaml")
	if err != nil {
		t.Fatal(err)
	}
	job, _, err := Parse(text, ParseOptions{})
	if err != nil {
		t.Fatal(err)
	}
	js, err := job.JobSet("alice", []byte("the text as it was written\n"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := yaml.Marshal(js.Object)
	if err != nil {
		t.Fatal(err)
	}
	golden.Check(t, "testdata/train.golden.yaml", string(got))
}

// PAI v0.10 rendered the files in testdata/published. Running jobs consist of
// such objects, so these files never change.
func TestJobSetEqualsPublishedRelease(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"train", "minimal"} {
		text, err := os.ReadFile("testdata/" + name + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		job, _, err := Parse(text, ParseOptions{})
		if err != nil {
			t.Fatal(err)
		}
		js, err := job.JobSet("alice", text)
		if err != nil {
			t.Fatal(err)
		}
		got, err := json.MarshalIndent(js.Object, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile("testdata/published/" + name + ".json")
		if err != nil {
			t.Fatal(err)
		}
		if string(got)+"\n" != string(want) {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
		}
	}
}
