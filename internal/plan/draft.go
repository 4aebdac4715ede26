package plan

import "slices"

// draft is every step towards a goal, those included whose target state is
// there already. It is how the order stays right when such steps are left out.
type draft struct {
	steps  []Step
	needed map[StepID]bool
}

// add appends a step that waits for others, and returns its ID.
func (d *draft) add(needed bool, s Step, after ...StepID) StepID {
	if d.needed == nil {
		d.needed = map[StepID]bool{}
	}
	s.After = after
	d.steps = append(d.steps, s)
	d.needed[s.ID] = needed
	return s.ID
}

// final leaves out what is not needed. A step that waited for one of those
// waits instead for what that one waited for.
func (d *draft) final() []Step {
	resolved := map[StepID][]StepID{}
	var steps []Step
	for _, s := range d.steps {
		var after []StepID
		for _, id := range s.After {
			if d.needed[id] {
				after = append(after, id)
			} else {
				after = append(after, resolved[id]...)
			}
		}
		after = withoutRepeats(after)
		resolved[s.ID] = after
		if d.needed[s.ID] {
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
