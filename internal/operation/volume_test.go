package operation

import (
	"context"
	"strings"
	"testing"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/session"
)

// folders is a machine that has folders, and nothing else.
type folders struct {
	machine.Host
	there map[string]bool
}

func (f folders) Run(_ context.Context, c machine.Command) (machine.Output, error) {
	for folder := range f.there {
		switch {
		case !strings.Contains(c.Script, folder):
		case strings.HasPrefix(c.Script, "rm -rf -- "):
			delete(f.there, folder)
		default:
			return machine.Output{Stdout: "there\n"}, nil
		}
	}
	return machine.Output{}, nil
}

func TestVolumes(t *testing.T) {
	t.Parallel()
	one, two := folders{there: map[string]bool{"/var/lib/pai/images": true}}, folders{there: map[string]bool{"/var/lib/pai/metrics": true, "/var/lib/pai/images": true}}
	s := &session.Session{Config: &config.Config{}, Hosts: map[string]machine.Host{"one": one}}
	s.Config.Layout.MachineList = []config.Machine{{Hostname: "one"}, {Hostname: "two"}}
	v, step := volumes{s}, plan.Step{ID: "s", Kind: plan.KindVolume, Target: "metrics", Wipe: true}

	if done, err := v.Done(t.Context(), step); done || err != nil {
		t.Errorf("a machine does not answer, and the data there counts as deleted; %v", err)
	}
	if err := v.Do(t.Context(), step); err == nil || !strings.Contains(err.Error(), "machine two does not answer") || pai.CodeOf(err) != pai.CodeFailed {
		t.Errorf("a machine does not answer: %v", err)
	}
	s.Hosts["two"] = two
	if done, err := v.Done(t.Context(), step); done || err != nil {
		t.Errorf("before, done is %v; %v", done, err)
	}
	if err := v.Do(t.Context(), step); err != nil {
		t.Fatal(err)
	}
	if done, err := v.Done(t.Context(), step); !done || err != nil || !one.there["/var/lib/pai/images"] || !two.there["/var/lib/pai/images"] {
		t.Errorf("afterwards, done is %v, and there are %v and %v; %v", done, one.there, two.there, err)
	}
	for _, name := range []string{"", ".", "..", "a/b", "../../etc", "A"} {
		step.Target = name
		if err := v.Do(t.Context(), step); err == nil {
			t.Errorf("%q is the name of a volume", name)
		}
	}
}
