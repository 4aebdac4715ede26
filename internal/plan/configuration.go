package plan

import (
	"fmt"

	"pai.dev/pai/internal/pai"
)

// configurationFirst puts a step in front of a plan that moves the
// configuration to a schema version, where it is of an older one. Everything
// else waits for it: new configuration works with whatever runs, so it can
// always go first.
func configurationFirst(w World, schema int, steps []Step) []Step {
	if w.Schema == 0 || w.Schema >= schema {
		return steps
	}
	first := Step{
		ID: StepID(fmt.Sprintf("configuration/schema-%d", schema)), Kind: KindConfiguration,
		Target: fmt.Sprintf("schema %d", schema), Schema: schema, Phase: "configuration", Risk: pai.RiskNone,
	}
	return append([]Step{first}, waitFor(steps, []StepID{first.ID})...)
}
