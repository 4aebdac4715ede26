package job

import (
	"encoding/json"
	"flag"
	"os"
	"testing"

	"sigs.k8s.io/yaml"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew; look at the difference before you keep it")

// A change here changes what running jobs consist of: see what it does to the
// jobs that an older release started.
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
	const golden = "testdata/train.golden.yaml"
	if *rewrite {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("differs from %s; run with -rewrite and look at the difference:\n%s", golden, got)
	}
}

// PAI v0.10 rendered the files in testdata/published, with types of its own.
// Running jobs consist of such objects, so a file there never changes.
func TestJobSetIsThatOfPublishedReleases(t *testing.T) {
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
