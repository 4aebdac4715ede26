package witness

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// base is the start of the tests.
func base() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }

func at(ms int) time.Time { return base().Add(time.Duration(ms) * time.Millisecond) }

func TestGaps(t *testing.T) {
	t.Parallel()
	good := func(start, end int) sample { return sample{at(start), at(end), true} }
	bad := func(start, end int) sample { return sample{at(start), at(end), false} }
	for name, test := range map[string]struct {
		samples         []sample
		until           int
		outage, longest time.Duration
	}{
		"no samples":     {nil, 1000, 0, 0},
		"only successes": {[]sample{good(0, 10), good(100, 110)}, 1000, 0, 0},
		"slow successes": {[]sample{good(0, 900), good(100, 950)}, 1000, 0, 0},
		"one failure between successes": {
			[]sample{good(0, 10), bad(100, 110), good(200, 230)}, 1000, 230 * time.Millisecond, 230 * time.Millisecond},
		"consecutive failures": {
			[]sample{good(0, 10), bad(100, 1100), bad(200, 210), good(300, 310)}, 1000, 310 * time.Millisecond, 310 * time.Millisecond},
		"two gaps": {
			[]sample{good(0, 1), bad(100, 101), good(200, 201), good(300, 301), bad(400, 401), bad(500, 501), good(600, 601)}, 1000,
			(201 + 301) * time.Millisecond, 301 * time.Millisecond},
		"no success before": {
			[]sample{bad(100, 110), good(200, 210)}, 1000, 110 * time.Millisecond, 110 * time.Millisecond},
		"no success after": {
			[]sample{good(0, 10), bad(100, 110)}, 1000, time.Second, time.Second},
		"overlapping gaps": {
			[]sample{good(0, 10), bad(100, 110), good(200, 900), bad(300, 310), good(400, 1000)}, 2000,
			time.Second, 900 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var g gaps
			for _, s := range test.samples {
				g.add(s)
			}
			sum := g.sum(at(test.until))
			if sum.OutageSeconds != test.outage.Seconds() || sum.LongestGapSeconds != test.longest.Seconds() {
				t.Errorf("got outage %v, longest %v; want %v, %v", sum.OutageSeconds, sum.LongestGapSeconds, test.outage.Seconds(), test.longest.Seconds())
			}
		})
	}
}

// TestGapsMatchSlowCount compares with a count of single milliseconds.
func TestGapsMatchSlowCount(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 30).Draw(t, "n")
		var samples []sample
		start := 0
		for range n {
			start += rapid.IntRange(1, 40).Draw(t, "step")
			samples = append(samples, sample{at(start), at(start + rapid.IntRange(0, 100).Draw(t, "took")), rapid.Bool().Draw(t, "ok")})
		}
		until := start + 150
		var g gaps
		for _, s := range samples {
			g.add(s)
		}
		got := g.sum(at(until))
		outage, longest := slowGaps(samples, until)
		if !close(got.OutageSeconds, outage) || !close(got.LongestGapSeconds, longest) {
			t.Fatalf("got outage %v, longest %v; want %v, %v", got.OutageSeconds, got.LongestGapSeconds, outage, longest)
		}
	})
}

func close(a, b float64) bool { return a-b < 1e-9 && b-a < 1e-9 }

// slowGaps finds the successes around every failure and marks each millisecond.
func slowGaps(samples []sample, until int) (outage, longest float64) {
	ms := func(t time.Time) int { return int(t.Sub(base()) / time.Millisecond) }
	failing := make([]bool, until)
	for i, s := range samples {
		if s.ok {
			continue
		}
		from, to := i, until
		for from > 0 && !samples[from].ok {
			from--
		}
		begin := ms(samples[from].start)
		for _, next := range samples[i:] {
			if next.ok {
				to = ms(next.end)
				break
			}
		}
		longest = max(longest, float64(to-begin)/1000)
		for m := begin; m < to; m++ {
			failing[m] = true
		}
	}
	for _, f := range failing {
		if f {
			outage += 0.001
		}
	}
	return outage, longest
}

func TestGapsPauseCountsNoOutage(t *testing.T) {
	t.Parallel()
	var g gaps
	g.add(sample{at(0), at(1), true})
	g.add(sample{at(100), at(101), false})
	g.pause(at(200)) // the process was not running from here
	g.add(sample{at(60_000), at(60_010), false})
	g.add(sample{at(60_100), at(60_110), true})
	sum := g.sum(at(60_200))
	if want := 0.200 + 0.110; !close(sum.OutageSeconds, want) || !close(sum.LongestGapSeconds, 0.2) {
		t.Errorf("got outage %v, longest %v; want %v, 0.2", sum.OutageSeconds, sum.LongestGapSeconds, want)
	}
}

func TestUnobservedTime(t *testing.T) {
	t.Parallel()
	limit := int(unobservedAfter / time.Millisecond)
	for name, test := range map[string]struct {
		act  func(d *unobservedTime)
		now  int
		want time.Duration
	}{
		"frequent observations":    {func(d *unobservedTime) { d.observed(at(0)); d.observed(at(limit)) }, limit, 0},
		"late observation":         {func(d *unobservedTime) { d.observed(at(0)); d.observed(at(limit + 1)) }, limit + 1, unobservedAfter + time.Millisecond},
		"no observation until now": {func(d *unobservedTime) { d.observed(at(0)) }, 2 * limit, 2 * unobservedAfter},
		"paused process":           {func(d *unobservedTime) { d.add(at(1000), at(4000)) }, 5000, 3 * time.Second},
		"overlapping periods": {func(d *unobservedTime) {
			d.observed(at(0))
			d.add(at(1000), at(2*limit))
			d.observed(at(2 * limit))
		}, 2 * limit, 2 * unobservedAfter},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var d unobservedTime
			test.act(&d)
			if got := d.sum(at(test.now)); got != test.want {
				t.Errorf("got %v unobserved, want %v", got, test.want)
			}
		})
	}
}

func TestProbeLoopDetectsPause(t *testing.T) {
	t.Parallel()
	p := &probeLoop{unobserved: &unobservedTime{}}
	for _, ms := range []int{0, 100, 200, 2200, 5200, 5300} {
		p.recordTick(at(ms))
	}
	if got, want := p.unobserved.sum(at(5300)), 3*time.Second; got != want {
		t.Errorf("got %v unobserved, want %v: the limit is %v", got, want, pausedAfter)
	}
}
