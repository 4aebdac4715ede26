package check

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/release"
)

// expectation is one row of a table.
type expectation struct {
	name  string
	got   Result
	want  Outcome
	found string // part of Found
}

func (e expectation) check(t *testing.T) {
	t.Helper()
	if e.got.Outcome != e.want || !strings.Contains(e.got.Found, e.found) {
		t.Errorf("%s: got %s %q, want %s with %q", e.name, e.got.Outcome, e.got.Found, e.want, e.found)
	}
	if e.got.Bad() && e.got.Fix == "" {
		t.Errorf("%s: got %q without a fix", e.name, e.got.Found)
	}
}

func expect(t *testing.T, table []expectation) {
	t.Helper()
	for _, e := range table {
		e.check(t)
	}
}

// only returns the result of an evaluation as a check would report it.
func only(results []Result, err error) Result {
	if err != nil {
		return unknown("", err)
	}
	return results[0]
}

var errTest = errors.New("no route to host")

// silentHost is a machine with a connection that runs no command.
type silentHost struct{ machine.Host }

func (silentHost) Name() string { return "m1" }
func (silentHost) Run(context.Context, machine.Command) (machine.Output, error) {
	return machine.Output{}, errTest
}
func (silentHost) ReadFile(context.Context, string) ([]byte, error) { return nil, errTest }

func testConfig() *config.Config {
	c := &config.Config{}
	c.Layout.MachineList = []config.Machine{{Hostname: "m1", HostIP: "10.0.0.1", Username: "root", Role: config.RoleControlPlane}}
	c.Services.Cluster.Common.ClusterID = "lab"
	return c
}

// unobservable is an input without a single observation.
func unobservable() Input {
	c := testConfig()
	c.Layout.MachineSKU = map[string]config.SKU{"dgx": {GPU: &config.SKUGPU{Type: "a100", Count: 8}}}
	c.Layout.MachineList[0].MachineType = "dgx"
	c.Services.Storages = map[string]config.Storage{"data": {Type: pai.StorageNFS}}
	return Input{
		Config:       c,
		World:        plan.World{Current: pai.Pair{Services: "v0.9", Kubernetes: "v0.9-pai"}, APIError: "connection refused", Machines: []plan.MachineState{{Name: "m1", ControlPlane: true, Unreachable: "no route to host"}}},
		PlanErr:      errTest,
		Hosts:        map[string]machine.Host{"m1": silentHost{}},
		Kube:         func(context.Context) (*kube.Client, error) { return nil, errTest },
		Bundle:       func(pai.Release) (*release.Bundle, error) { return nil, errTest },
		Operation:    func(context.Context) (Operation, error) { return Operation{}, errTest },
		LastBackup:   func(context.Context) (time.Time, error) { return time.Time{}, errTest },
		BlockedSteps: func(context.Context) ([]BlockedStep, error) { return nil, errTest },
	}
}

// Every check has a bad result with a fix if nothing can be observed.
func TestUnobservedIsNeverOK(t *testing.T) {
	t.Parallel()
	for _, in := range []struct {
		name    string
		hosts   map[string]machine.Host
		current pai.Pair
	}{{"silent machines", unobservable().Hosts, unobservable().World.Current}, {"unreachable machines", nil, unobservable().World.Current}, {"an unknown cluster", nil, pai.Pair{}}} {
		input := unobservable()
		input.Hosts, input.World.Current = in.hosts, in.current
		results := Run(t.Context(), input, RunOptions{Stage: Standalone})
		seen := map[string]bool{}
		for _, r := range results {
			seen[r.ID] = true
			if !r.Bad() {
				t.Errorf("%s: got %+v, want a bad result", in.name, r)
			}
			if r.Fix == "" {
				t.Errorf("%s: got %+v without a fix", in.name, r)
			}
		}
		for _, id := range IDs() {
			if !seen[id] {
				t.Errorf("%s: no result of check %s", in.name, id)
			}
		}
	}
}

func TestRunReportsEveryCheckByOutcome(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // in which a busy host cannot use up the time of a check
		second, hangs := make(chan struct{}), make(chan struct{})
		checks := []Check{
			{ID: "fine", evaluate: func(context.Context, *world) ([]Result, error) { <-second; return []Result{okay("", "fine")}, nil }},
			{ID: "several", evaluate: func(context.Context, *world) ([]Result, error) {
				close(second) // checks that do not run in parallel never reach this
				return []Result{warning("b", "", "odd"), failed("a", "fix it", "wrong")}, nil
			}},
			{ID: "panics", evaluate: func(context.Context, *world) ([]Result, error) { panic("nil map") }},
			{ID: "hangs", evaluate: func(context.Context, *world) ([]Result, error) { <-hangs; return nil, nil }},
			{ID: "empty", evaluate: func(context.Context, *world) ([]Result, error) { return nil, nil }},
			{ID: "partial", evaluate: func(context.Context, *world) ([]Result, error) { return []Result{okay("a", "fine")}, errTest }},
			{ID: "waits", evaluate: func(ctx context.Context, _ *world) ([]Result, error) { <-ctx.Done(); return nil, ctx.Err() }},
		}
		var got []string
		for _, r := range runAll(t.Context(), checks, nil, 300*time.Millisecond) {
			got = append(got, strings.TrimSpace(string(r.Outcome)+" "+r.ID+" "+r.Target))
		}
		close(hangs)
		want := []string{"failed several a", "unknown panics", "unknown hangs", "unknown partial", "unknown waits", "warning several b", "ok fine", "ok empty", "ok partial a"}
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

func TestRunOptionsSelectChecks(t *testing.T) {
	t.Parallel()
	checks := []Check{{ID: "both", stages: Boot | Upgrade}, {ID: "upgrade", stages: Upgrade}, {ID: "resume", stages: Upgrade | alsoOnResume}, {ID: "standalone"}}
	for _, c := range []struct {
		o    RunOptions
		want string
	}{
		{RunOptions{Stage: Standalone}, "both upgrade resume standalone"},
		{RunOptions{Stage: Boot}, "both"},
		{RunOptions{Stage: Upgrade}, "both upgrade resume"},
		{RunOptions{Stage: Upgrade, Skip: []string{"upgrade"}}, "both resume"},
		{RunOptions{Stage: Upgrade, Resuming: true}, "resume"}, // a resume fixes the problems of the others
	} {
		var got []string
		for _, check := range slices.DeleteFunc(slices.Clone(checks), c.o.skips) {
			got = append(got, check.ID)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%+v: got %q, want %q", c.o, got, c.want)
		}
	}
}

func TestChecksHaveUniqueIDs(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, c := range All() {
		if seen[c.ID] || c.ID == "" || c.Title == "" || c.evaluate == nil {
			t.Errorf("check %q is a duplicate or incomplete", c.ID)
		}
		seen[c.ID] = true
	}
	if err := ValidateIDs([]string{"machine-disk", "etcd"}); err != nil {
		t.Error(err)
	}
	err := ValidateIDs([]string{"machine-disk", "machine-dsk"})
	if pai.ExitCode(err) != 2 || !strings.Contains(err.Error(), "machine-dsk") || !strings.Contains(hintOf(err), "machine-disk") {
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
		}{{Boot, "boot"}, {Services, "services"}, {Upgrade, "upgrade"}, {Rollback, "rollback"}, {Staging, "staging"}} {
			if c.stages&s.stage != 0 {
				stages = append(stages, s.name)
			}
		}
		row := "| `" + c.ID + "` | " + strings.Join(stages, ", ")
		if c.stages&alsoOnResume != 0 {
			row += "; also on resume"
		}
		if row = strings.TrimSpace(row) + " |"; !strings.Contains(string(data), row) {
			t.Errorf("docs/checks.md has no row that starts with %q", row)
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
	broken := observe(t.Context(), func(context.Context) (int, error) { panic("nil map") })
	if _, err := broken.get(t.Context()); err == nil {
		t.Error("got no error from an observation that panics")
	}
}
