package witness

import (
	"time"

	"pai.dev/pai/internal/pai"
)

// sample is one attempt to reach something.
type sample struct {
	start, end time.Time
	ok         bool
}

// gaps adds up the time without success. Samples come in the order in which
// they were started. A gap is the time from the start of the last success
// before a failure (of the failure itself where there is none) to the end of
// the next success; overlapping gaps count once in the sum.
type gaps struct {
	outage  time.Duration
	longest time.Duration

	lastOK  time.Time // start of the last success; zero before the first
	failing bool
	from    time.Time // start of the open gap
	counted time.Time // everything before is in outage already
}

func (g *gaps) add(s sample) {
	if !s.ok {
		if !g.failing {
			g.failing, g.from = true, s.start
			if !g.lastOK.IsZero() {
				g.from = g.lastOK
			}
		}
		return
	}
	g.close(s.end)
	g.lastOK = s.start
}

// close ends the open gap, if there is one.
func (g *gaps) close(at time.Time) {
	if !g.failing {
		return
	}
	g.failing = false
	g.longest = max(g.longest, at.Sub(g.from))
	from := g.from
	if from.Before(g.counted) {
		from = g.counted
	}
	if at.After(from) {
		g.outage += at.Sub(from)
		g.counted = at
	}
}

// pause ends the account at a moment after which nobody looked; the next
// sample begins anew.
func (g *gaps) pause(at time.Time) {
	g.close(at)
	g.lastOK = time.Time{}
}

// sum is what was counted up to a moment, an open gap included.
func (g gaps) sum(at time.Time) pai.Availability {
	g.close(at)
	return pai.Availability{OutageSeconds: g.outage.Seconds(), LongestGapSeconds: g.longest.Seconds()}
}

// plus adds two accounts of different times.
func plus(a, b pai.Availability) pai.Availability {
	return pai.Availability{
		OutageSeconds:     a.OutageSeconds + b.OutageSeconds,
		LongestGapSeconds: max(a.LongestGapSeconds, b.LongestGapSeconds),
	}
}
