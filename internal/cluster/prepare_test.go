package cluster

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"testing"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/plan"
)

func TestOutdatedFiles(t *testing.T) {
	t.Parallel()
	files := map[string]preparedFile{"/etc/same": {content: "a"}, "/etc/changed": {content: "b"}, "/etc/missing": {content: "c"}}
	h := &fakeHost{run: func(string) (string, error) {
		return fmt.Sprintf("%x  /etc/same\n%x  /etc/changed\n", sha256.Sum256([]byte("a")), sha256.Sum256([]byte("old"))), nil
	}}
	got, err := outdated(t.Context(), h, files)
	if want := []string{"/etc/changed", "/etc/missing"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
}

func TestPrepareReloadsSystemdOnlyForUnits(t *testing.T) {
	t.Parallel()
	cfg := testConfig()
	m := cfg.ControlPlane()
	files, err := preparedFiles(cfg, m)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, changed string
		reload        bool
	}{
		{"unit", layout.UnitsDir + "/" + layout.PrepareUnit, true},
		{"script", layout.PrepareScript, false},
	} {
		h := &fakeHost{files: map[string]string{}}
		first := true
		h.run = func(string) (string, error) {
			if first { // the required commands exist
				first = false
				return "", nil
			}
			out := ""
			for path, f := range files {
				if path != c.changed {
					out += fmt.Sprintf("%x  %s\n", sha256.Sum256([]byte(f.content)), path)
				}
			}
			return out, nil
		}
		cl := &cluster{Deps: Deps{Config: cfg}}
		if err := cl.prepare(t.Context(), h, m, plan.Step{Kind: plan.KindPrepare}); err != nil {
			t.Fatal(err)
		}
		if h.files[c.changed] != files[c.changed].content || len(h.files) != 1 {
			t.Errorf("%s: got %d files written, want only %s", c.name, len(h.files), c.changed)
		}
		if got := h.ran("systemctl daemon-reload"); got != c.reload {
			t.Errorf("%s: got reload %v, want %v", c.name, got, c.reload)
		}
	}
}
