package witness

import (
	"sync"
	"time"
)

// timeline remembers which step was in progress when.
type timeline struct {
	mu      sync.Mutex
	entries []entry // oldest first
}

type entry struct {
	at   time.Time
	step string
}

// note says which step is in progress from now on.
func (t *timeline) note(at time.Time, step string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := len(t.entries); n > 0 && t.entries[n-1].step == step {
		return
	}
	t.entries = append(t.entries, entry{at, step})
}

// at is the step in progress at a moment; the first one known for any earlier
// moment.
func (t *timeline) at(moment time.Time) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.entries) == 0 {
		return ""
	}
	step := t.entries[0].step
	for _, e := range t.entries {
		if e.at.After(moment) {
			break
		}
		step = e.step
	}
	return step
}

// now is the step in progress.
func (t *timeline) now() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.entries) == 0 {
		return ""
	}
	return t.entries[len(t.entries)-1].step
}
