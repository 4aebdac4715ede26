package plan

import (
	"fmt"
	"slices"

	"pai.dev/pai/internal/pai"
)

// StagePlan plans the part of an upgrade that nothing running notices: the
// programs and images of its releases come to the machines. What is left for
// the upgrade then copies nothing. A machine that has no container runtime yet,
// or does not answer, gets them with the upgrade itself.
func StagePlan(in Input, target Target) (Plan, error) {
	p, err := Upgrade(in, target)
	if err != nil {
		return Plan{}, err
	}
	runs := map[string]bool{}
	for _, m := range in.World.Machines {
		runs[m.Name] = m.Prepared && hasRuntime(m) && m.Unreachable == ""
		if m.Unreachable != "" {
			p.Notes = append(p.Notes, fmt.Sprintf("%s does not answer, so nothing is brought there", m.Name))
		}
	}
	var d stepGraph
	for _, s := range p.Steps {
		brings := slices.Contains([]Kind{KindPrograms, KindImages}, s.Kind)
		d.add(brings && runs[s.Target], s, s.After...)
	}
	p.Verb, p.To, p.Hops, p.Steps = pai.VerbStage, p.From, []Hop{}, d.reduce()
	return p, p.Validate()
}
