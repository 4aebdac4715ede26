package cli

import (
	"errors"
	"strings"
	"testing"

	"pai.dev/pai/internal/cli/ui"
	"pai.dev/pai/internal/pai"
)

// Details are below the error, and the hint is last.
func TestReportErrorShowsDetails(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"plain": {errors.New("lost"), "paictl: lost\n"},
		"details and hint": {&pai.Error{Message: "step a failed: exit status 1", Details: "the journal of pai-etcd-a ends with:\n    one", Next: "fix the cause\nrun: again"},
			"paictl: step a failed: exit status 1\n  the journal of pai-etcd-a ends with:\n      one\n  → fix the cause\n    run: again\n"},
	} {
		var errs strings.Builder
		reportError(&Env{Console: ui.Console{Err: &errs}}, c.err)
		if errs.String() != c.want {
			t.Errorf("%s: got %q, want %q", name, errs.String(), c.want)
		}
	}
}
