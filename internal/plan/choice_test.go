package plan

import (
	"slices"
	"strings"
	"testing"

	"pai.dev/pai/internal/pai"
)

// targets are the services that a plan has steps for, in their order.
func targets(p Plan, kind Kind) string {
	var names []string
	for _, s := range p.Steps {
		if s.Kind == kind {
			names = append(names, s.Target)
		}
	}
	return strings.Join(names, " ")
}

// without is an input in which services do not run.
func withoutServices(in Input, names ...string) Input {
	w := in.World.clone()
	for _, n := range names {
		delete(w.Services, n)
	}
	w.Current.Services = w.OldestInstalled()
	in.World = w
	return in
}

func TestChoiceSelectsServices(t *testing.T) {
	nine := running(twoReleases(), "v0.9", "cp-01")
	only := withoutServices(nine, "jobset", "rest-server", "storage", "old-exporter")
	away := nine
	away.World.APIReachable = false
	start := func(in Input, c Choice) (Plan, error) { return Start(in, "v0.9", c) }
	for _, c := range []struct {
		name      string
		plan      func(Input, Choice) (Plan, error)
		in        Input
		choice    Choice
		want, err string // the services in their order, or the error
		next      string
		code      pai.Code
	}{
		{"start all but one", start, nine, Choice{Skip: []string{"storage"}}, "kueue jobset old-exporter rest-server", "", "", ""},
		{"start all but a prerequisite that runs", start, nine, Choice{Skip: []string{"kueue"}}, "jobset old-exporter rest-server storage", "", "", ""},
		{"start all but a prerequisite that does not run", start, only, Choice{Skip: []string{"jobset"}}, "",
			"skipped prerequisites do not run: rest-server needs jobset", "--skip rest-server", pai.CodeRefused},
		{"start all but it and what needs it", start, only, Choice{Skip: []string{"jobset", "rest-server"}}, "kueue old-exporter storage", "", "", ""},
		{"start all but all", start, nine, Choice{Skip: []string{"kueue", "jobset", "rest-server", "storage", "old-exporter"}}, "", "", "", ""},
		{"start, an unknown name skipped", start, nine, Choice{Skip: []string{"storage", "nope"}}, "", `service "nope" not found`,
			"name one of the services: kueue, jobset, old-exporter, rest-server, storage", pai.CodeUsage},
		{"start, named and skipped", start, nine, Choice{Names: []string{"kueue"}, Skip: []string{"storage"}}, "",
			"both named (kueue) and skipped (storage)", "give either", pai.CodeUsage},
		{"start of a newer release but one", func(in Input, c Choice) (Plan, error) { return Start(in, "v0.10", c) }, nine, Choice{Skip: []string{"storage"}}, "",
			"release v0.10 cannot be started for single services", "", pai.CodeRefused},
		{"stop all but one", StopPlan, nine, Choice{Skip: []string{"storage"}}, "rest-server old-exporter jobset kueue", "", "", ""},
		{"stop all but it and what it needs", StopPlan, nine, Choice{Skip: []string{"kueue", "jobset"}}, "storage rest-server old-exporter", "", "", ""},
		{"stop all but a dependent", StopPlan, nine, Choice{Skip: []string{"rest-server"}}, "",
			"skipped services would lose a prerequisite: rest-server needs jobset", "--skip jobset", pai.CodeRefused},
		{"stop all but a dependent that does not run", StopPlan, only, Choice{Skip: []string{"rest-server"}}, "kueue", "", "", ""},
		{"stop all but a dependent, services unobserved", StopPlan, away, Choice{Skip: []string{"rest-server"}}, "",
			"rest-server needs jobset", "", pai.CodeRefused},
		{"stop, an unknown name skipped", StopPlan, nine, Choice{Skip: []string{"nope"}}, "", `service "nope" not found`, "name one of the services: kueue, ", pai.CodeUsage},
		{"stop one, and what needs it", StopPlan, nine, Choice{Names: []string{"jobset"}}, "rest-server jobset", "", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := c.plan(c.in, c.choice)
			if c.err != "" {
				wantError(t, err, c.code, c.err, c.next)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.TrimSpace(targets(p, KindService) + targets(p, KindStop)); got != c.want {
				t.Errorf("steps for %q, want %q", got, c.want)
			}
			if slices.ContainsFunc(p.Steps, func(s Step) bool { return s.Kind == KindServices }) {
				t.Error("a release is recorded as that of all services, and some were left out")
			}
		})
	}
}

func wantError(t *testing.T, err error, code pai.Code, message, next string) {
	t.Helper()
	e, ok := err.(*pai.Error)
	if !ok || e.Code != code || !strings.Contains(e.Error(), message) || !strings.Contains(e.Next, next) {
		t.Errorf("got %v (code %s), want %q (code %s)", err, pai.CodeOf(err), message, code)
	}
	if ok && !strings.Contains(e.Next, next) {
		t.Errorf("what to do next is %q, want %q in it", e.Next, next)
	}
}
