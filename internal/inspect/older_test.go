package inspect_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/test/inspecttest"
)

func TestOlderHelpersAreRemoved(t *testing.T) {
	t.Parallel()
	r := inspecttest.NewRoot(t)
	at := func(n int) string { return layout.Helper(strings.Repeat(string(rune('0'+n)), 16)) }
	for n := range 6 {
		r.Write(at(n), "")
		when := time.Now().Add(time.Duration(n-10) * time.Hour)
		if err := os.Chtimes(filepath.Dir(r.At(at(n))), when, when); err != nil {
			t.Fatal(err)
		}
	}
	r.Write(layout.HelperDir+"/other/pai-machine", "")
	r.Process(9, at(1), nil, nil)
	r.Write(layout.UnitsDir+"/"+layout.BackupUnit, "[Service]\nExecStart="+at(2)+" backup\n")
	there := func() (found []int) {
		for n := range 6 {
			if _, err := os.Stat(r.At(at(n))); err == nil {
				found = append(found, n)
			}
		}
		return found
	}
	ask(t, r)
	if got := there(); len(got) != 6 {
		t.Errorf("got helpers %v after a usual request, want all", got)
	}
	got := r.Machine().Inspect(t.Context(), inspect.Request{Delivered: true}, "")
	if !slices.Equal(there(), []int{1, 2, 4, 5}) || len(got.Problems) > 0 {
		t.Errorf("got helpers %v, %v, want the newest two, the one that runs, and that of the backups", there(), got.Problems)
	}
	if _, err := os.Stat(r.At(layout.HelperDir + "/other/pai-machine")); err != nil {
		t.Errorf("another directory was not left alone: %v", err)
	}
}
