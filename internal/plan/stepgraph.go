package plan

import "slices"

// stepGraph holds every step of a goal, including steps that are already done.
// reduce removes the done steps and keeps the order of the others.
type stepGraph struct {
	phase  string // of steps without one
	steps  []Step
	needed map[StepID]bool
}

// add appends a step that waits for others, and returns its ID.
func (g *stepGraph) add(needed bool, s Step, after ...StepID) StepID {
	if g.needed == nil {
		g.needed = map[StepID]bool{}
	}
	if s.Phase == "" {
		s.Phase = g.phase
	}
	s.After = after
	g.steps = append(g.steps, s)
	g.needed[s.ID] = needed
	return s.ID
}

// reduce returns the needed steps. A step that waited for a removed one waits
// for the predecessors of that step instead.
func (g *stepGraph) reduce() []Step {
	resolved := map[StepID][]StepID{}
	var steps []Step
	for _, s := range g.steps {
		var after []StepID
		for _, id := range s.After {
			if g.needed[id] {
				after = append(after, id)
			} else {
				after = append(after, resolved[id]...)
			}
		}
		after = withoutRepeats(after)
		resolved[s.ID] = after
		if g.needed[s.ID] {
			s.After = after
			steps = append(steps, s)
		}
	}
	return steps
}

func withoutRepeats(ids []StepID) []StepID {
	var unique []StepID
	seen := make(map[StepID]bool, len(ids))
	for _, id := range ids {
		if !seen[id] {
			seen[id] = true
			unique = append(unique, id)
		}
	}
	return unique
}

// waitFor makes every step that waits for nothing wait for ids.
func waitFor(steps []Step, ids []StepID) []Step {
	for i := range steps {
		if len(steps[i].After) == 0 {
			steps[i].After = slices.Clone(ids)
		}
	}
	return steps
}
