package cli

import (
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"pai.dev/pai/internal/check"
	"pai.dev/pai/internal/cli/ui"
	"pai.dev/pai/internal/pai"
)

func TestCheckPrintsWorstFirst(t *testing.T) {
	t.Parallel()
	results := []check.Result{
		{ID: "machine-disk", Target: "m1", Outcome: check.Failed, Found: "full\nquite", Fix: "free disk space"},
		{ID: "etcd", Outcome: check.Unknown, Found: "no answer", Fix: "look at it"},
		{ID: "machine-time", Target: "m1", Outcome: check.Warning, Found: "2 s late", Fix: "start chrony"},
		{ID: "bundle", Target: "v0.10", Outcome: check.OK, Found: "complete"},
	}
	var out strings.Builder
	if err := ui.Text(&out, func(p *ui.Page) { writeResults(p, results) }); err != nil {
		t.Fatal(err)
	}
	want := `failed (1)
  machine-disk   m1   full quite
                      → free disk space

unknown (1)
  etcd   -   no answer
             → look at it

warning (1)
  machine-time   m1   2 s late
                      → start chrony

ok (1)
  bundle   v0.10   complete

`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
	if err := checkError(results); pai.ExitCode(err) != 1 || !strings.Contains(err.Error(), "1 failed, 1 could not be observed") {
		t.Errorf("got %v", err)
	}
	if err := checkError(results[2:]); err != nil {
		t.Errorf("got %v, want no error for warnings", err)
	}
}

// The refusal of a check advises --skip-check, so every command that runs checks has it.
func TestCommandsWithChecksCanSkipThem(t *testing.T) {
	t.Parallel()
	runNone := []string{"paictl cluster k8s-clean", "paictl cluster restore", "paictl machine maintain", "paictl machine remove", "paictl upgrade abandon",
		"paictl service stop", "paictl service refresh", "paictl service delete"}
	var without []string
	eachCommand(newRootCommand(&Env{}), func(cmd *cobra.Command) {
		if cmd.Flag("accept-risk") != nil && cmd.Flag("skip-check") == nil {
			without = append(without, cmd.CommandPath())
		}
	})
	slices.Sort(without)
	slices.Sort(runNone)
	if !slices.Equal(without, runNone) {
		t.Errorf("got commands without --skip-check\n%q, want\n%q", without, runNone)
	}
}
