package plan

import (
	"strings"
	"testing"

	"pai.dev/pai/internal/pai"
)

func TestPlanOfUnsupportedGoalIsRefused(t *testing.T) {
	two := twoReleases()
	ten := running(two, "v0.10", "cp-01")
	nine := running(two, "v0.9", "cp-01")
	noControlPlane := bare("cp-01")
	noControlPlane.Machines[0].ControlPlane = false
	for _, c := range []struct {
		name     string
		plan     func() error
		code     pai.Code
		contains string
	}{
		{"boot to older", func() error {
			_, err := Boot(ten, pai.Pair{Services: "v0.9", Kubernetes: "v0.9-pai"})
			return err
		}, pai.CodeRefused, "cannot downgrade"},
		{"start older", func() error { _, err := Start(ten, "v0.9", Choice{}); return err }, pai.CodeRefused, "cannot downgrade"},
		{"start on too old a Kubernetes", func() error {
			in := nine
			in.World = in.After(in.World, []Step{{Kind: KindStop, Target: "kueue"}})
			in.World.Services, in.World.Current.Services, in.World.RecordedServices = map[string]Installed{}, "", ""
			_, err := Start(in, "v0.10", Choice{})
			return err
		}, pai.CodeRefused, "run on Kubernetes v0.10-pai or newer"},
		{"start newer, which needs Kubernetes", func() error { _, err := Start(nine, "v0.10", Choice{}); return err }, pai.CodeRefused, "does not upgrade Kubernetes"},
		{"start older than what was stopped", func() error {
			_, err := Start(stopped(t, ten), "v0.9", Choice{})
			return err
		}, pai.CodeRefused, "cannot downgrade"},
		{"start one newer than what was stopped", func() error {
			in := stopped(t, nine)
			in.World.Current.Kubernetes = "v0.10-pai"
			_, err := Start(in, "v0.10", Choice{Names: []string{"kueue"}})
			return err
		}, pai.CodeRefused, "single services"},
		{"start one newer", func() error { _, err := Start(nine, "v0.10", Choice{Names: []string{"kueue"}}); return err }, pai.CodeRefused, "single services"},
		{"start without Kubernetes", func() error { _, err := Start(input(bare("cp-01"), two), "v0.9", Choice{}); return err }, pai.CodeRefused, "no Kubernetes"},
		{"no control plane", func() error {
			_, err := Boot(input(noControlPlane, two), pai.Pair{Services: "v0.9", Kubernetes: "v0.9-pai"})
			return err
		}, pai.CodeInvalid, "control-plane"},
		{"unknown service", func() error { _, err := StopPlan(nine, Choice{Names: []string{"nope"}}); return err }, pai.CodeUsage, "nope"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.plan()
			if err == nil || pai.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.contains) {
				t.Errorf("got %v (code %s), want code %s and %q", err, pai.CodeOf(err), c.code, c.contains)
			}
		})
	}
}
