package witness

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// Step is a step in progress, as far as the witness has to know it: its name, and
// the machines whose containers it can end.
type Step struct {
	ID string `json:"id"`
	// Everywhere is true if it can end containers on any machine.
	Everywhere bool `json:"everywhere,omitempty"`
	// Machine is the only machine otherwise; empty if it ends no container.
	Machine string `json:"machine,omitempty"`
}

// reaches reports whether the step can end a container of a job that runs on
// these machines. What ends a container also ends those that depend on it, so a
// job is reached as a whole.
func (s Step) reaches(machines []string) bool {
	return s.Everywhere || (s.Machine != "" && slices.Contains(machines, s.Machine))
}

// timeline records when each step was in progress.
type timeline struct {
	mu      sync.Mutex
	entries []entry // oldest first
}

type entry struct {
	at    time.Time
	steps []Step
}

// note records the steps that are in progress from now on.
func (t *timeline) note(at time.Time, steps ...Step) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.add(at, steps)
}

// record records the steps in progress, which it reads at the time that it
// records, so that two callers cannot record them in the wrong order.
func (t *timeline) record(read func() []Step) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.add(time.Now(), read())
}

func (t *timeline) add(at time.Time, steps []Step) {
	if n := len(t.entries); n > 0 && slices.Equal(t.entries[n-1].steps, steps) {
		return
	}
	t.entries = append(t.entries, entry{at, slices.Clone(steps)})
}

// at names the steps in progress at a moment.
func (t *timeline) at(moment time.Time) string { return t.during(moment, moment) }

// during names the steps in progress between two moments, oldest first. Before
// the first recorded step, it names that step.
func (t *timeline) during(from, to time.Time) string {
	return join(t.between(from, to))
}

// reaching names the steps in progress between two moments that can end a
// container of a job that runs on these machines.
func (t *timeline) reaching(from, to time.Time, machines []string) string {
	return join(slices.DeleteFunc(t.between(from, to), func(s Step) bool { return !s.reaches(machines) }))
}

// between returns the steps in progress between two moments, oldest first.
func (t *timeline) between(from, to time.Time) []Step {
	t.mu.Lock()
	defer t.mu.Unlock()
	var steps []Step
	for i, e := range t.entries {
		over := i+1 < len(t.entries) && !t.entries[i+1].at.After(from)
		if over || (i > 0 && e.at.After(to)) {
			continue
		}
		for _, s := range e.steps {
			if !slices.Contains(steps, s) {
				steps = append(steps, s)
			}
		}
	}
	return steps
}

// stepSeparator separates the names of steps that run in parallel.
const stepSeparator = ", "

func join(steps []Step) string {
	var names []string
	for _, s := range steps {
		if s.ID != "" && !slices.Contains(names, s.ID) {
			names = append(names, s.ID)
		}
	}
	return strings.Join(names, stepSeparator)
}

// now returns the steps in progress.
func (t *timeline) now() []Step {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.entries) == 0 {
		return nil
	}
	return slices.Clone(t.entries[len(t.entries)-1].steps)
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
