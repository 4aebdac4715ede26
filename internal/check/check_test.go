package check

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/release"
)

// judged is one row of a table: what a judgement should come to.
type judged struct {
	name  string
	got   Result
	want  Outcome
	found string // must be in Found
}

func (j judged) check(t *testing.T) {
	t.Helper()
	if j.got.Outcome != j.want || !strings.Contains(j.got.Found, j.found) {
		t.Errorf("%s: %s %q, want %s with %q in it", j.name, j.got.Outcome, j.got.Found, j.want, j.found)
	}
	if j.got.Bad() && j.got.Fix == "" {
		t.Errorf("%s: %q does not say what to do", j.name, j.got.Found)
	}
}

func judgements(t *testing.T, table []judged) {
	t.Helper()
	for _, j := range table {
		j.check(t)
	}
}

var errTest = errors.New("it hides")

// mute is a machine to which there is a connection, and nothing else.
type mute struct{ machine.Host }

func (mute) Name() string { return "m1" }
func (mute) Run(context.Context, machine.Command) (machine.Output, error) {
	return machine.Output{}, errTest
}
func (mute) ReadFile(context.Context, string) ([]byte, error) { return nil, errTest }

func testConfig() *config.Config {
	c := &config.Config{}
	c.Layout.MachineList = []config.Machine{{Hostname: "m1", HostIP: "10.0.0.1", Username: "root", Role: config.RoleControlPlane}}
	c.Services.Cluster.Common.ClusterID = "lab"
	return c
}

// blind is an input of which nothing can be observed.
func blind() Input {
	return Input{
		Config:       testConfig(),
		World:        plan.World{Current: pai.Pair{Services: "v0.9", Kubernetes: "v0.9-pai"}, APIError: "hidden", Machines: []plan.MachineState{{Name: "m1", ControlPlane: true, Unreachable: "it hides"}}},
		PlanErr:      errTest,
		Hosts:        map[string]machine.Host{"m1": mute{}},
		Kube:         func(context.Context) (*kube.Client, error) { return nil, errTest },
		Bundle:       func(pai.Release) (*release.Bundle, error) { return nil, errTest },
		Operation:    func(context.Context) (Operation, error) { return Operation{}, errTest },
		BlockedSteps: func(context.Context) ([]BlockedStep, error) { return nil, errTest },
	}
}

// TestNothingSeenIsNeverFine: every check of a cluster that shows nothing of
// itself says so, and none takes silence for health.
func TestNothingSeenIsNeverFine(t *testing.T) {
	t.Parallel()
	for _, in := range []struct {
		name  string
		hosts map[string]machine.Host
	}{{"machines that say nothing", blind().Hosts}, {"no connection to any machine", nil}} {
		input := blind()
		input.Hosts = in.hosts
		results := Run(t.Context(), input, RunOptions{Stage: Standalone})
		seen := map[string]bool{}
		for _, r := range results {
			seen[r.ID] = true
			if !r.Bad() {
				t.Errorf("%s: %+v", in.name, r)
			}
			if r.Fix == "" {
				t.Errorf("%s: %+v does not say what to do", in.name, r)
			}
		}
		for _, id := range IDs() {
			if !seen[id] {
				t.Errorf("%s: check %s said nothing", in.name, id)
			}
		}
	}
}

func TestRunReportsAll(t *testing.T) {
	t.Parallel()
	gate := make(chan struct{})
	checks := []Check{
		{ID: "fine", judge: func(context.Context, *world) []Result { <-gate; return []Result{okay("", "fine")} }},
		{ID: "several", judge: func(context.Context, *world) []Result {
			close(gate) // those that run one after the other never get here
			return []Result{warning("b", "", "odd"), failed("a", "mend it", "wrong")}
		}},
		{ID: "breaks", judge: func(context.Context, *world) []Result { panic("ouch") }},
		{ID: "hangs", judge: func(context.Context, *world) []Result { select {} }},
		{ID: "idle", judge: func(context.Context, *world) []Result { return nil }},
		{ID: "waits", judge: func(ctx context.Context, _ *world) []Result { <-ctx.Done(); return []Result{unknown("", ctx.Err())} }},
	}
	var got []string
	for _, r := range runAll(t.Context(), checks, nil, 300*time.Millisecond) {
		got = append(got, strings.TrimSpace(string(r.Outcome)+" "+r.ID+" "+r.Target))
	}
	want := []string{"failed several a", "unknown breaks", "unknown hangs", "unknown waits", "warning several b", "ok fine", "ok idle"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestChoose(t *testing.T) {
	t.Parallel()
	checks := []Check{{ID: "both", stages: Boot | Upgrade}, {ID: "upgrade", stages: Upgrade}, {ID: "holds", stages: Upgrade, holds: true}, {ID: "alone"}}
	for _, c := range []struct {
		o    RunOptions
		want string
	}{
		{RunOptions{Stage: Standalone}, "both upgrade holds alone"},
		{RunOptions{Stage: Boot}, "both"},
		{RunOptions{Stage: Upgrade}, "both upgrade holds"},
		{RunOptions{Stage: Upgrade, Skip: []string{"upgrade"}}, "both holds"},
		{RunOptions{Stage: Upgrade, Resuming: true}, "holds"}, // going on mends the others
	} {
		var got []string
		for _, check := range choose(slices.Clone(checks), c.o) {
			got = append(got, check.ID)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%+v: %q, want %q", c.o, got, c.want)
		}
	}
}

func TestChecksHaveNamesAndStages(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, c := range All() {
		if seen[c.ID] || c.ID == "" || c.Title == "" || c.judge == nil {
			t.Errorf("%q is there twice, or lacks something", c.ID)
		}
		seen[c.ID] = true
	}
	if err := ValidateIDs([]string{"machine-disk", "etcd"}); err != nil {
		t.Error(err)
	}
	err := ValidateIDs([]string{"machine-disk", "machine-dsk"})
	if pai.ExitCode(err) != 2 || !strings.Contains(err.Error(), "machine-dsk") || !strings.Contains(nextOf(err), "machine-disk") {
		t.Errorf("got %v", err)
	}
}

func TestDocumentListsEveryCheck(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../../docs/checks.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range All() {
		var stages []string
		for _, s := range []struct {
			stage Stage
			name  string
		}{{Boot, "boot"}, {Services, "services"}, {Upgrade, "upgrade"}, {Staging, "staging"}} {
			if c.stages&s.stage != 0 {
				stages = append(stages, s.name)
			}
		}
		row := "| `" + c.ID + "` | " + strings.Join(stages, ", ")
		if c.holds && len(stages) > 0 {
			row += "; holds"
		}
		if row = strings.TrimSpace(row) + " |"; !strings.Contains(string(data), row) {
			t.Errorf("docs/checks.md has no row that begins %q", row)
		}
	}
}

func TestMemoObservesOnce(t *testing.T) {
	t.Parallel()
	n := 0
	m := observe(t.Context(), func(context.Context) (int, error) { n++; return n, nil })
	for range 3 {
		if v, err := m.get(t.Context()); v != 1 || err != nil {
			t.Errorf("got %d, %v", v, err)
		}
	}
	broken := observe(t.Context(), func(context.Context) (int, error) { panic("ouch") })
	if _, err := broken.get(t.Context()); err == nil {
		t.Error("a reader that broke has read nothing")
	}
}
