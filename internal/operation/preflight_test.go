package operation

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pai.dev/pai/internal/check"
	"pai.dev/pai/internal/pai"
)

func TestRefusedByListsEveryFailure(t *testing.T) {
	t.Parallel()
	var lines []string
	notice := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	fine := []check.Result{{ID: "bundle", Outcome: check.OK}, {ID: "machine-swap", Target: "m1", Outcome: check.Warning, Found: "swap is on"}}
	if err := refusedBy(fine, notice); err != nil {
		t.Errorf("got %v, want no refusal", err)
	}
	if want := []string{"warning: machine-swap m1: swap is on"}; !slices.Equal(lines, want) {
		t.Errorf("got %q, want %q", lines, want)
	}
	err := refusedBy(append(fine,
		check.Result{ID: "machine-disk", Target: "m1", Outcome: check.Failed, Found: "full", Fix: "free disk space"},
		check.Result{ID: "etcd", Outcome: check.Unknown, Found: "no answer", Fix: "check it"}), notice)
	if pai.ExitCode(err) != 3 {
		t.Fatalf("exit code %d: %v", pai.ExitCode(err), err)
	}
	for _, want := range []string{"machine-disk, etcd", "machine-disk m1: full", "→ free disk space", "etcd: no answer", "→ check it"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("want %q in:\n%v", want, err)
		}
	}
}

func TestUnion(t *testing.T) {
	t.Parallel()
	if got := union([]string{"etcd"}, []string{"bundle", "etcd"}); !slices.Equal(got, []string{"bundle", "etcd"}) {
		t.Errorf("got %q", got)
	}
}
