package chaos

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// What v0.9 recorded has the form that the comparison reads.
func TestAdmissionsOfRecordedWorkloads(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../older/testdata/booted/api/workloads.json")
	if err != nil {
		t.Fatal(err)
	}
	found, err := admissionsOf(data)
	if err != nil || len(found) == 0 {
		t.Fatalf("got %v, %v", found, err)
	}
	for name, text := range found {
		if !strings.HasPrefix(name, "pai-vc-default/") || !strings.Contains(text, `admitted {"clusterQueue":"default"`) || strings.Contains(text, "generation 0") {
			t.Errorf("got %s: %s, want an admission", name, text)
		}
	}
}

func TestChangedAdmissions(t *testing.T) {
	before := map[string]string{"default/a": "1 generation 1", "default/b": "2 generation 1", "default/c": "3 generation 1"}
	after := map[string]string{"default/a": "1 generation 1", "default/b": "2 generation 2", "default/d": "4 generation 1"}
	var got []string
	for _, err := range ChangedAdmissions(before, after) {
		got = append(got, err.Error())
	}
	want := []string{`workload default/b was 2 generation 1, is "2 generation 2"`, `workload default/c was 3 generation 1, is ""`}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
