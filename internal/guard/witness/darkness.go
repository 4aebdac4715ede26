package witness

import (
	"slices"
	"sync"
	"time"
)

// darkness counts the time in which nobody watched: this process did not run,
// or neither the API nor the machines could be looked at.
type darkness struct {
	mu       sync.Mutex
	lastLook time.Time
	spans    []span
}

// span is a stretch of time, by the wall's clock.
type span struct{ from, to time.Time }

// add counts a stretch of time. Stretches may overlap.
func (d *darkness) add(from, to time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.spans = append(d.spans, span{from.Round(0), to.Round(0)})
}

// saw notes a look that saw every watched job.
func (d *darkness) saw(now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now = now.Round(0)
	if !d.lastLook.IsZero() && now.Sub(d.lastLook) > blindAfter {
		d.spans = append(d.spans, span{d.lastLook, now})
	}
	if now.After(d.lastLook) {
		d.lastLook = now
	}
}

// sum is all time counted up to a moment, each moment once.
func (d *darkness) sum(now time.Time) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	spans := slices.Clone(d.spans)
	now = now.Round(0)
	if !d.lastLook.IsZero() && now.Sub(d.lastLook) > blindAfter {
		spans = append(spans, span{d.lastLook, now})
	}
	return union(spans)
}

// union is how long spans are together.
func union(spans []span) time.Duration {
	slices.SortFunc(spans, func(a, b span) int { return a.from.Compare(b.from) })
	var total time.Duration
	var counted time.Time
	for _, s := range spans {
		if s.from.Before(counted) {
			s.from = counted
		}
		if s.to.After(s.from) {
			total += s.to.Sub(s.from)
			counted = s.to
		}
	}
	return total
}
