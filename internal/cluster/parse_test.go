package cluster

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

func TestFlags(t *testing.T) {
	t.Parallel()
	f := flags{"--a=1", "--ab=2", "--c=x=y"}
	if got := f.set("a", "9"); !slices.Equal(got, flags{"--a=9", "--ab=2", "--c=x=y"}) {
		t.Errorf("set in place: %q", got)
	}
	if got := f.set("b", "3"); !slices.Equal(got, flags{"--a=1", "--ab=2", "--c=x=y", "--b=3"}) {
		t.Errorf("add: %q", got)
	}
	if got := f.drop("a"); !slices.Equal(got, flags{"--ab=2", "--c=x=y"}) {
		t.Errorf("drop: %q", got)
	}
	if !slices.Equal(f, flags{"--a=1", "--ab=2", "--c=x=y"}) {
		t.Errorf("the original flags changed: %q", f)
	}
}

// A script passes its flags to the program unchanged.
func TestScriptPassesFlagsOn(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.StringMatching(`[ -~]{0,12}`), 1, 4).Draw(t, "values")
		var f flags
		for _, v := range values {
			f = append(f, "--x="+v)
		}
		s := strings.Replace(script("v0.9-pai", "test", "prog", f), "exec "+layout.Program("v0.9-pai", "prog"), `printf '%s\n'`, 1)
		out, err := exec.Command("sh", "-c", s).Output()
		if err != nil {
			t.Fatal(err)
		}
		if want := strings.Join(f, "\n") + "\n"; string(out) != want {
			t.Errorf("passed on %q, want %q", out, want)
		}
	})
}

func TestEmbeddedScriptsParse(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob("scripts/*.sh")
	if err != nil || len(paths) < 5 {
		t.Fatalf("%v, %v", paths, err)
	}
	for _, path := range paths {
		if out, err := exec.Command("sh", "-n", path).CombinedOutput(); err != nil {
			t.Errorf("%s: %s", path, out)
		}
	}
}

func TestFlagsOfManifest(t *testing.T) {
	t.Parallel()
	for name, manifest := range map[string]string{
		"empty":          "",
		"no pod":         "a: 1",
		"two containers": "spec: {containers: [{command: [a, --b]}, {command: [c, --d]}]}",
		"no flags":       "spec: {containers: [{command: [a]}]}",
		"no YAML":        "\t",
	} {
		if f, err := flagsOfManifest([]byte(manifest)); err == nil {
			t.Errorf("%s: %q was parsed as a command line", name, f)
		}
	}
}

func TestChooseSlots(t *testing.T) {
	t.Parallel()
	old, next := pai.KubernetesVersion("v0.9-pai"), pai.KubernetesVersion("v0.10-pai")
	type states = map[layout.Slot]plan.RoleState
	for _, c := range []struct {
		name   string
		states states
		want   plan.RoleState
		to     layout.Slot
	}{
		{"nothing there", states{}, plan.RoleState{Link: next}, layout.SlotA},
		{"old in a", states{layout.SlotA: {Link: old, Running: old}}, plan.RoleState{Link: next}, layout.SlotB},
		{"old in b", states{layout.SlotB: {Link: old, Running: old}}, plan.RoleState{Link: next}, layout.SlotA},
		{"both run", states{layout.SlotA: {Link: old, Running: old}, layout.SlotB: {Link: next, Running: next}}, plan.RoleState{Link: next}, layout.SlotB},
		{"new linked, not started", states{layout.SlotA: {Link: old, Running: old}, layout.SlotB: {Link: next}}, plan.RoleState{Link: next}, layout.SlotB},
		{"done", states{layout.SlotB: {Link: next, Running: next}}, plan.RoleState{Link: next}, layout.SlotB},
		{"old stopped by a crash", states{layout.SlotA: {Link: old}}, plan.RoleState{Link: next}, layout.SlotB},
		{"commit", states{layout.SlotB: {Link: next, Running: next, Emulates: "1.35"}}, plan.RoleState{Link: next}, layout.SlotA},
		{"commit cut short", states{layout.SlotA: {Link: next}, layout.SlotB: {Link: next, Running: next, Emulates: "1.35"}}, plan.RoleState{Link: next}, layout.SlotA},
		{"rollback before the commit", states{layout.SlotB: {Link: next, Running: next, Emulates: "1.35"}}, plan.RoleState{Link: old}, layout.SlotA},
		{"other settings in a", states{layout.SlotA: {Link: next, Running: next, Digests: plan.Digests{Settings: "old"}}},
			plan.RoleState{Link: next, Digests: plan.Digests{Settings: "new"}}, layout.SlotB},
		{"other settings in b", states{layout.SlotB: {Link: next, Running: next, Digests: plan.Digests{Settings: "old"}}},
			plan.RoleState{Link: next, Digests: plan.Digests{Settings: "new"}}, layout.SlotA},
		{"new settings linked, not started", states{layout.SlotA: {Link: next, Running: next, Digests: plan.Digests{Settings: "old"}},
			layout.SlotB: {Link: next, Digests: plan.Digests{Settings: "new"}}}, plan.RoleState{Link: next, Digests: plan.Digests{Settings: "new"}}, layout.SlotB},
		{"old settings not yet removed", states{layout.SlotA: {Link: next, Running: next, Digests: plan.Digests{Settings: "new"}},
			layout.SlotB: {Link: next, Digests: plan.Digests{Settings: "old"}}}, plan.RoleState{Link: next, Digests: plan.Digests{Settings: "new"}}, layout.SlotA},
		{"unknown programs", states{layout.SlotA: {Link: next, Running: next}}, plan.RoleState{Link: next, Digests: plan.Digests{Programs: "new"}}, layout.SlotB},
		{"old stopped in a, runs in b", states{layout.SlotA: {Link: old}, layout.SlotB: {Link: old, Running: old}}, plan.RoleState{Link: next}, layout.SlotA},
	} {
		to, from := chooseSlots(c.states, states{layout.SlotA: c.want, layout.SlotB: c.want})
		if to != c.to || from != c.to.Other() {
			t.Errorf("%s: to %s from %s, want to %s", c.name, to.Name, from.Name, c.to.Name)
		}
	}
}

func TestAllThere(t *testing.T) {
	t.Parallel()
	record := map[string]string{"pai.local/a:v1": "sha256:1", "pai.local/b:v1": "sha256:2"}
	have := map[string]string{"pai.local/a:v1": "sha256:1", "pai.local/b:v1": "sha256:2", "other": "sha256:3"}
	if !allThere(record, have) {
		t.Error("images that are there are not seen")
	}
	for name, broken := range map[string]map[string]string{
		"one missing": {"pai.local/a:v1": "sha256:1"},
		"one changed": {"pai.local/a:v1": "sha256:1", "pai.local/b:v1": "sha256:9"},
	} {
		if allThere(record, broken) {
			t.Errorf("%s: got true, want false", name)
		}
	}
	if allThere(nil, have) || allThere(map[string]string{"pai.local/c:v1": ""}, have) {
		t.Error("an empty record, or one without a digest, counts as all images")
	}
}
