package plan

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// What is left out of a stepGraph leaves the order of the rest as it was.
func TestStepGraphReduceKeepsOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 12).Draw(t, "steps")
		var d stepGraph
		before := make([]map[int]bool, n) // all that a step has to come after
		needed := make([]bool, n)
		for i := range n {
			before[i] = map[int]bool{}
			var after []StepID
			for j := range i {
				if rapid.IntRange(0, 3).Draw(t, "edge") == 0 {
					after = append(after, StepID(fmt.Sprint(j)))
					before[i][j] = true
					for k := range before[j] {
						before[i][k] = true
					}
				}
			}
			needed[i] = rapid.Bool().Draw(t, "needed")
			d.add(needed[i], Step{ID: StepID(fmt.Sprint(i)), Kind: KindRole}, after...)
		}
		steps := d.reduce()
		if err := (Plan{Steps: steps}).Validate(); err != nil {
			t.Fatal(err)
		}
		has := map[StepID]map[StepID]bool{}
		for _, s := range steps {
			has[s.ID] = map[StepID]bool{}
			for _, a := range s.After {
				has[s.ID][a] = true
				for b := range has[a] {
					has[s.ID][b] = true
				}
			}
		}
		for i := range n {
			for j := range n {
				if !needed[i] || !needed[j] {
					continue
				}
				if got := has[StepID(fmt.Sprint(i))][StepID(fmt.Sprint(j))]; got != before[i][j] {
					t.Fatalf("step %d comes after %d: %v, want %v", i, j, got, before[i][j])
				}
			}
		}
	})
}
