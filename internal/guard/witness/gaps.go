package witness

import (
	"time"

	"pai.dev/pai/internal/pai"
)

// sample is one request to the API.
type sample struct {
	start, end time.Time
	ok         bool
}

// gaps sums the time without success. Samples are added in the order of their
// start. A gap starts with the last success before a failure (with the failure
// itself if there is none) and ends with the end of the next success.
// Overlapping gaps count once in the sum.
type gaps struct {
	outage  time.Duration
	longest time.Duration

	lastOK  time.Time // start of the last success; zero before the first
	failing bool
	from    time.Time // start of the open gap
	counted time.Time // outage includes everything before
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

// close ends the open gap.
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

// pause ends the sum at a moment after which no samples were taken. The next
// sample starts as if it were the first.
func (g *gaps) pause(at time.Time) {
	g.close(at)
	g.lastOK = time.Time{}
}

// sum returns the sum until a moment, including an open gap.
func (g gaps) sum(at time.Time) pai.Availability {
	g.close(at)
	return pai.Availability{OutageSeconds: g.outage.Seconds(), LongestGapSeconds: g.longest.Seconds()}
}

// plus adds the availability of two different periods.
func plus(a, b pai.Availability) pai.Availability {
	return pai.Availability{
		OutageSeconds:     a.OutageSeconds + b.OutageSeconds,
		LongestGapSeconds: max(a.LongestGapSeconds, b.LongestGapSeconds),
	}
}
