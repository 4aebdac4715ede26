package cluster

import (
	"testing"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/pai"
)

func TestRecorded(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, file, id string
		pair           pai.Pair
		fails          bool
	}{
		{"no record", "", "", pai.Pair{}, false},
		{"record", `{"clusterId":"lab","kubernetes":"v0.10-pai","services":"v0.9"}`, "lab", pai.Pair{Services: "v0.9", Kubernetes: "v0.10-pai"}, false},
		{"damaged record", "{", "", pai.Pair{}, true},
	} {
		h := &fakeHost{files: map[string]string{}}
		if c.file != "" {
			h.files[layout.ClusterRecordFile] = c.file
		}
		id, pair, err := Recorded(t.Context(), h)
		if id != c.id || pair != c.pair || (err != nil) != c.fails {
			t.Errorf("%s: got %q, %v, %v", c.name, id, pair, err)
		}
	}
}
