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
	"pai.dev/pai/test/sessiontest"
)

// directories is a machine that has only directories.
func directories(paths ...string) (*sessiontest.Host, map[string]bool) {
	exist := map[string]bool{}
	for _, p := range paths {
		exist[p] = true
	}
	return &sessiontest.Host{Answer: func(_ context.Context, c machine.Command) (machine.Output, error) {
		for dir := range exist {
			switch {
			case !strings.Contains(c.Script, dir):
			case strings.Contains(c.Script, "\nremove '"+dir+"'"):
				delete(exist, dir)
			default:
				return machine.Output{Stdout: "there\n"}, nil
			}
		}
		return machine.Output{}, nil
	}}, exist
}

func TestVolumesDeletesOnEveryMachine(t *testing.T) {
	t.Parallel()
	one, onOne := directories("/var/lib/pai/images")
	two, onTwo := directories("/var/lib/pai/metrics", "/var/lib/pai/images")
	s := &session.Session{Config: &config.Config{}, Hosts: map[string]machine.Host{"one": one}}
	s.Config.Layout.MachineList = []config.Machine{{Hostname: "one"}, {Hostname: "two"}}
	v, step := volumes{s}, plan.Step{ID: "s", Kind: plan.KindVolume, Target: "metrics", Wipe: true}

	if done, err := v.Done(t.Context(), step); done || err != nil {
		t.Errorf("unreachable machine: got done %v, %v, want false", done, err)
	}
	if err := v.Do(t.Context(), step); err == nil || !strings.Contains(err.Error(), "machine two is unreachable") || pai.CodeOf(err) != pai.CodeFailed {
		t.Errorf("unreachable machine: got %v", err)
	}
	s.Hosts["two"] = two
	if done, err := v.Done(t.Context(), step); done || err != nil {
		t.Errorf("before Do: got done %v, %v, want false", done, err)
	}
	if err := v.Do(t.Context(), step); err != nil {
		t.Fatal(err)
	}
	if done, err := v.Done(t.Context(), step); !done || err != nil || !onOne["/var/lib/pai/images"] || !onTwo["/var/lib/pai/images"] {
		t.Errorf("after Do: got done %v, %v, directories %v and %v", done, err, onOne, onTwo)
	}
}

// Nothing but the volume of a service can be deleted.
func TestVolumesRefusesOtherDirectories(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", ".", "..", "a/b", "../../etc", "A", "images", "lock", "operations", "revisions", "witness"} {
		if err := (volumes{&session.Session{Config: &config.Config{}}}).Do(t.Context(), plan.Step{Target: name}); err == nil {
			t.Errorf("%q was accepted as the name of a volume", name)
		}
	}
}
