package chaos

import (
	"os"
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
