package witness

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// timeline records when each step was in progress.
type timeline struct {
	mu      sync.Mutex
	entries []entry // oldest first
}

type entry struct {
	at   time.Time
	step string
}

// note records the step that is in progress from now on.
func (t *timeline) note(at time.Time, step string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := len(t.entries); n > 0 && t.entries[n-1].step == step {
		return
	}
	t.entries = append(t.entries, entry{at, step})
}

// at names the steps in progress at a moment.
func (t *timeline) at(moment time.Time) string { return t.during(moment, moment) }

// during names the steps in progress between two moments, oldest first. Before
// the first recorded step, it names that step.
func (t *timeline) during(from, to time.Time) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var names []string
	for i, e := range t.entries {
		over := i+1 < len(t.entries) && !t.entries[i+1].at.After(from)
		if over || (i > 0 && e.at.After(to)) {
			continue
		}
		for name := range strings.SplitSeq(e.step, stepSeparator) {
			if name != "" && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return strings.Join(names, stepSeparator)
}

// stepSeparator separates the names of steps that run in parallel.
const stepSeparator = ", "

// now returns the steps in progress.
func (t *timeline) now() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.entries) == 0 {
		return ""
	}
	return t.entries[len(t.entries)-1].step
}

// stepsOn leaves out the steps in progress on other machines, if there is
// another step in progress: the steps of several machines run in parallel.
func stepsOn(machine, steps string) string {
	names := strings.Split(steps, stepSeparator)
	names = slices.DeleteFunc(names, func(name string) bool {
		_, after, ofMachine := strings.Cut(name, "/machine/")
		on, _, _ := strings.Cut(after, "/")
		return ofMachine && on != machine
	})
	if len(names) == 0 {
		return steps
	}
	return strings.Join(names, stepSeparator)
}
