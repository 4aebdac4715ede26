package operation

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pai.dev/pai/internal/check"
	"pai.dev/pai/internal/pai"
)

func TestRefusedByNamesEveryFailure(t *testing.T) {
	t.Parallel()
	var said []string
	notice := func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) }
	fine := []check.Result{{ID: "bundle", Outcome: check.OK}, {ID: "machine-swap", Target: "m1", Outcome: check.Warning, Found: "swap is on"}}
	if err := refusedBy(fine, notice); err != nil {
		t.Errorf("refused by %v", err)
	}
	if want := []string{"warning: machine-swap m1: swap is on"}; !slices.Equal(said, want) {
		t.Errorf("said %q, want %q", said, want)
	}
	err := refusedBy(append(fine,
		check.Result{ID: "machine-disk", Target: "m1", Outcome: check.Failed, Found: "full", Fix: "make room"},
		check.Result{ID: "etcd", Outcome: check.Unknown, Found: "no answer", Fix: "look at it"}), notice)
	if pai.ExitCode(err) != 3 {
		t.Fatalf("exit code %d: %v", pai.ExitCode(err), err)
	}
	for _, want := range []string{"machine-disk, etcd", "machine-disk m1: full", "→ make room", "etcd: no answer", "→ look at it"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the refusal does not say %q:\n%v", want, err)
		}
	}
}

func TestUnion(t *testing.T) {
	t.Parallel()
	if got := union([]string{"etcd"}, []string{"bundle", "etcd"}); !slices.Equal(got, []string{"bundle", "etcd"}) {
		t.Errorf("got %q", got)
	}
}
