package witness

import (
	"slices"
	"sync"
	"time"
)

// unobservedTime sums the periods without observation: the process was not
// running, or neither the API nor the machines could be read.
type unobservedTime struct {
	mu      sync.Mutex
	last    time.Time // last complete observation
	periods []period
}

// period is a period of wall-clock time.
type period struct{ from, to time.Time }

// add adds a period. Periods can overlap.
func (u *unobservedTime) add(from, to time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.periods = append(u.periods, period{from.Round(0), to.Round(0)})
}

// observed records an observation of every watched job.
func (u *unobservedTime) observed(now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	now = now.Round(0)
	u.periods = append(u.periods, u.open(now)...)
	if now.After(u.last) {
		u.last = now
	}
}

// open returns the period since the last observation if it is too long.
func (u *unobservedTime) open(now time.Time) []period {
	if u.last.IsZero() || now.Sub(u.last) <= unobservedAfter {
		return nil
	}
	return []period{{u.last, now}}
}

// sum returns the time until now, and counts overlapping periods once.
func (u *unobservedTime) sum(now time.Time) time.Duration {
	u.mu.Lock()
	defer u.mu.Unlock()
	return union(append(slices.Clone(u.periods), u.open(now.Round(0))...))
}

func union(periods []period) time.Duration {
	slices.SortFunc(periods, func(a, b period) int { return a.from.Compare(b.from) })
	var total time.Duration
	var counted time.Time
	for _, p := range periods {
		if p.from.Before(counted) {
			p.from = counted
		}
		if p.to.After(p.from) {
			total += p.to.Sub(p.from)
			counted = p.to
		}
	}
	return total
}
