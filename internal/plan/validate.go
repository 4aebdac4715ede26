package plan

import (
	"errors"
	"fmt"
)

// Validate reports everything that makes a plan invalid: IDs that are not
// unique, and steps that wait for a step that is not before them. A valid plan
// has no cycles.
func (p Plan) Validate() error {
	var problems []error
	seen := make(map[StepID]bool, len(p.Steps))
	for _, s := range p.Steps {
		if s.ID == "" || s.Kind == "" {
			problems = append(problems, fmt.Errorf("step %q of kind %q: ID or kind is missing", s.ID, s.Kind))
		}
		for _, id := range s.After {
			if !seen[id] {
				problems = append(problems, fmt.Errorf("step %q waits for %q, which does not come before it", s.ID, id))
			}
		}
		if seen[s.ID] {
			problems = append(problems, fmt.Errorf("duplicate step %q", s.ID))
		}
		seen[s.ID] = true
	}
	return errors.Join(problems...)
}

// Empty reports whether nothing is to be done.
func (p Plan) Empty() bool { return len(p.Steps) == 0 && len(p.Hops) == 0 }
