package cluster

import (
	"errors"
	"strings"
	"testing"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// The journal of a unit is in the details of an error, not in its text.
func TestRestartErrorHasJournalInDetails(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ journal, details string }{
		"journal":    {"one\ntwo", "the journal of pai-etcd-a.service on pai-1 ends with:\n    one\n    two"},
		"no journal": {"", ""},
	} {
		h := &fakeHost{run: func(script string) (string, error) {
			if strings.HasPrefix(script, "journalctl ") {
				return c.journal, nil
			}
			return "", errors.New("exit status 1")
		}}
		err := moveAndRestart(t.Context(), h, plan.RoleEtcdA, "v0.10-pai")
		if want := `restart etcd-a of Kubernetes v0.10-pai on "pai-1": exit status 1`; err == nil || err.Error() != want || pai.DetailsOf(err) != c.details {
			t.Errorf("%s: got error %v with details %q, want %s with %q", name, err, pai.DetailsOf(err), want, c.details)
		}
	}
}
