package operation

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pai.dev/pai/internal/pai"
)

// Operations are listed oldest first: verb, from, to, outcome.
func TestProgramNeeds(t *testing.T) {
	t.Parallel()
	pair := func(v string) pai.Pair {
		if v == "-" {
			return pai.Pair{}
		}
		return pai.Pair{Services: pai.ServicesVersion(v), Kubernetes: pai.KubernetesVersion(v + "-pai")}
	}
	for name, c := range map[string]struct {
		current, configured string
		operations          string
		want                string // ranges beside that of the current version
	}{
		"booted":                {"v0.10", "v0.10", "k8s-bootup - v0.10 succeeded", ""},
		"no journal":            {"v0.10", "v0.10", "", ""},
		"upgraded":              {"v0.11", "v0.11", "k8s-bootup - v0.9 succeeded; upgrade v0.9 v0.11 succeeded", "v0.9-pai to v0.11-pai except v0.11-pai"},
		"upgraded twice":        {"v0.11", "v0.11", "upgrade v0.9 v0.10 succeeded; upgrade v0.10 v0.11 succeeded", "v0.10-pai to v0.11-pai except v0.11-pai"},
		"rolled back":           {"v0.10", "v0.10", "upgrade v0.10 v0.11 succeeded; rollback v0.11 v0.10 succeeded", ""},
		"rollback failed":       {"v0.11", "v0.11", "upgrade v0.10 v0.11 succeeded; rollback v0.11 v0.10 failed", "v0.10-pai to v0.11-pai, v0.10-pai to v0.11-pai except v0.11-pai"},
		"upgrade failed":        {"v0.9", "v0.11", "upgrade v0.9 v0.11 failed", "v0.11-pai to v0.11-pai, v0.9-pai to v0.11-pai"},
		"upgrade failed midway": {"v0.10", "v0.11", "upgrade v0.9 v0.11 failed", "v0.11-pai to v0.11-pai, v0.9-pai to v0.11-pai, v0.9-pai to v0.10-pai except v0.10-pai"},
		"machines wait":         {"v0.11", "v0.11", "upgrade v0.10 v0.11 waiting", "v0.10-pai to v0.11-pai, v0.10-pai to v0.11-pai except v0.11-pai"},
		"staged":                {"v0.10", "v0.10", "k8s-bootup - v0.10 succeeded; upgrade-stage v0.10 v0.11 succeeded", "v0.11-pai to v0.11-pai"},
		"staged long ago":       {"v0.10", "v0.10", "upgrade-stage v0.10 v0.11 succeeded; upgrade v0.10 v0.11 succeeded; rollback v0.11 v0.10 succeeded", ""},
		"stage failed":          {"v0.10", "v0.10", "upgrade-stage v0.10 v0.11 failed", "v0.11-pai to v0.11-pai"},
		"services only":         {"v0.10", "v0.10", "upgrade v0.9 v0.10 succeeded; service-stop v0.10 v0.10 succeeded", "v0.9-pai to v0.10-pai except v0.10-pai"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			search := journalNeeds{rollbacks: newRollbackSearches()}
			list := strings.FieldsFunc(c.operations, func(r rune) bool { return r == ';' })
			for n, text := range slices.Backward(list) {
				f := strings.Fields(text)
				if search.add(pai.Operation{ID: fmt.Sprint(n), Verb: pai.Verb(f[0]), From: pair(f[1]), To: pair(f[2]), Outcome: pai.Outcome(f[3])}) {
					break
				}
			}
			needs := search.needs(pair(c.current).Kubernetes, pair(c.configured).Kubernetes)
			var got []string
			for _, n := range needs[1:] {
				text := fmt.Sprintf("%s to %s", n.From, n.To)
				if n.Except != "" {
					text += " except " + string(n.Except)
				}
				if n.AnyBuild || n.Reason == "" {
					t.Errorf("got %+v, want every build, for a reason", n)
				}
				got = append(got, text)
			}
			if strings.Join(got, ", ") != c.want || needs[0].From != pair(c.current).Kubernetes || !needs[0].AnyBuild {
				t.Errorf("got %q, first %+v, want %q", got, needs[0], c.want)
			}
		})
	}
}
