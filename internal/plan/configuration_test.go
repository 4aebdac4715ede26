package plan

import (
	"slices"
	"testing"
)

// Where the configuration is of an older schema than the target's, moving it is
// the first step and everything waits for it; elsewhere there is no such step.
func TestUpgradeOfOlderSchemaConvertsConfigurationFirst(t *testing.T) {
	t.Parallel()
	releases := twoReleases()
	releases[0].Configuration.Schema, releases[1].Configuration.Schema = 1, 2
	for schema, wanted := range map[int]bool{0: false, 1: true, 2: false, 3: false} {
		in := running(releases, "v0.9", "cp-01", "gpu-01")
		in.World.Schema = schema
		p, err := Upgrade(in, Target{Release: "v0.10"})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Validate(); err != nil {
			t.Fatal(err)
		}
		first := p.Steps[0]
		if (first.Kind == KindConfiguration) != wanted {
			t.Errorf("schema %d: the first step is %s", schema, first.ID)
		}
		before := map[StepID]bool{}
		for _, s := range p.Steps {
			waits := s.ID == first.ID || slices.ContainsFunc(s.After, func(id StepID) bool { return before[id] })
			if wanted && !waits {
				t.Errorf("%s does not wait for the configuration", s.ID)
			}
			before[s.ID] = before[s.ID] || waits
			if s.Kind == KindConfiguration && s.ID != "configuration/schema-2" {
				t.Errorf("step %s", s.ID)
			}
		}
	}
}
