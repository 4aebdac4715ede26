package plan

import (
	"fmt"
	"slices"

	"pai.dev/pai/internal/pai"
)

// StagePlan plans the part of an upgrade that affects nothing that runs: it copies
// the programs and images of the releases to the machines. A machine that is
// unreachable or has no container runtime yet gets them with the upgrade.
func StagePlan(in Input, target Target) (Plan, error) {
	p, err := Upgrade(in, target)
	if err != nil {
		return Plan{}, err
	}
	runs := map[string]bool{}
	for _, m := range in.World.Active("").Machines {
		runs[m.Name] = m.Prepared && hasRuntime(m) && m.Unreachable == ""
		if m.Unreachable != "" {
			p.Notes = append(p.Notes, fmt.Sprintf("%s is unreachable, so nothing is copied there", m.Name))
		}
	}
	var d stepGraph
	for _, s := range p.Steps {
		copies := slices.Contains([]Kind{KindPrograms, KindImages}, s.Kind)
		d.add(copies && runs[s.Target], s, s.After...)
	}
	p.Verb, p.To, p.Hops, p.Steps = pai.VerbStage, p.From, []Hop{}, d.reduce()
	return p, p.Validate()
}
