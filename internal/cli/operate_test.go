package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pai.dev/pai/internal/session"
)

// Without a terminal, a deletion of local data needs --yes. The error comes
// before a connection to the cluster, and names the flag.
func TestDeletionOfLocalDataAsks(t *testing.T) {
	t.Parallel()
	state := t.TempDir()
	dir := filepath.Join(state, "clusters", session.LocalClusterID)
	if err := os.MkdirAll(filepath.Join(dir, "config"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, localMarker), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	const question = "pass --yes"
	for _, c := range []struct {
		args []string
		asks bool
	}{
		{[]string{"service", "delete", "prometheus", "--delete-data"}, true},
		{[]string{"service", "delete", "prometheus", "--delete-data", "--yes"}, false},
		{[]string{"service", "delete", "prometheus", "--delete-data", "--dry-run"}, false},
		{[]string{"service", "delete", "prometheus"}, false},
		{[]string{"cluster", "k8s-clean", "--delete-data"}, true},
		{[]string{"cluster", "k8s-clean", "--delete-data", "--yes"}, false},
		{[]string{"cluster", "k8s-clean"}, false},
	} {
		code, _, errs := paictl(t, state, "", c.args...)
		if asked := strings.Contains(errs, question); code == 0 || asked != c.asks {
			t.Errorf("paictl %s: code %d, asked %v, want %v:\n%s", strings.Join(c.args, " "), code, asked, c.asks, errs)
		}
	}
}
