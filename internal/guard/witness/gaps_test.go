package witness

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// base is some moment that the tests count from.
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
		"nothing was asked":         {nil, 1000, 0, 0},
		"all succeed":               {[]sample{good(0, 10), good(100, 110)}, 1000, 0, 0},
		"slow successes are no gap": {[]sample{good(0, 900), good(100, 950)}, 1000, 0, 0},
		"one failure: from the last success's start to the next one's end": {
			[]sample{good(0, 10), bad(100, 110), good(200, 230)}, 1000, 230 * time.Millisecond, 230 * time.Millisecond},
		"a run of failures is one gap": {
			[]sample{good(0, 10), bad(100, 1100), bad(200, 210), good(300, 310)}, 1000, 310 * time.Millisecond, 310 * time.Millisecond},
		"two gaps add up, the longer is the longest": {
			[]sample{good(0, 1), bad(100, 101), good(200, 201), good(300, 301), bad(400, 401), bad(500, 501), good(600, 601)}, 1000,
			(201 + 301) * time.Millisecond, 301 * time.Millisecond},
		"no success before: from the failure's start": {
			[]sample{bad(100, 110), good(200, 210)}, 1000, 110 * time.Millisecond, 110 * time.Millisecond},
		"no success after: until now": {
			[]sample{good(0, 10), bad(100, 110)}, 1000, time.Second, time.Second},
		"overlapping gaps count once": {
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
				t.Errorf("outage %v, longest %v; want %v, %v", sum.OutageSeconds, sum.LongestGapSeconds, test.outage.Seconds(), test.longest.Seconds())
			}
		})
	}
}

// TestGapsAgainstSlowCount compares with counting milliseconds one by one.
func TestGapsAgainstSlowCount(t *testing.T) {
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
			t.Fatalf("outage %v, longest %v; counting gives %v, %v", got.OutageSeconds, got.LongestGapSeconds, outage, longest)
		}
	})
}

func close(a, b float64) bool { return a-b < 1e-9 && b-a < 1e-9 }

// slowGaps looks for every failure's neighbours and marks each millisecond.
func slowGaps(samples []sample, until int) (outage, longest float64) {
	ms := func(t time.Time) int { return int(t.Sub(base()) / time.Millisecond) }
	dark := make([]bool, until)
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
			dark[m] = true
		}
	}
	for _, d := range dark {
		if d {
			outage += 0.001
		}
	}
	return outage, longest
}

func TestGapsPause(t *testing.T) {
	t.Parallel()
	var g gaps
	g.add(sample{at(0), at(1), true})
	g.add(sample{at(100), at(101), false})
	g.pause(at(200)) // this process slept from here
	g.add(sample{at(60_000), at(60_010), false})
	g.add(sample{at(60_100), at(60_110), true})
	sum := g.sum(at(60_200))
	if want := 0.200 + 0.110; !close(sum.OutageSeconds, want) || !close(sum.LongestGapSeconds, 0.2) {
		t.Errorf("outage %v, longest %v; want %v, 0.2: time in which nobody asked is no outage", sum.OutageSeconds, sum.LongestGapSeconds, want)
	}
}

func TestDarkness(t *testing.T) {
	t.Parallel()
	limit := int(blindAfter / time.Millisecond)
	for name, test := range map[string]struct {
		act  func(d *darkness)
		now  int
		want time.Duration
	}{
		"looks close together":       {func(d *darkness) { d.saw(at(0)); d.saw(at(limit)) }, limit, 0},
		"a look that comes too late": {func(d *darkness) { d.saw(at(0)); d.saw(at(limit + 1)) }, limit + 1, blindAfter + time.Millisecond},
		"no look until now":          {func(d *darkness) { d.saw(at(0)) }, 2 * limit, 2 * blindAfter},
		"asleep":                     {func(d *darkness) { d.add(at(1000), at(4000)) }, 5000, 3 * time.Second},
		"asleep and blind at once count once": {func(d *darkness) {
			d.saw(at(0))
			d.add(at(1000), at(2*limit))
			d.saw(at(2 * limit))
		}, 2 * limit, 2 * blindAfter},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var d darkness
			test.act(&d)
			if got := d.sum(at(test.now)); got != test.want {
				t.Errorf("%v unobserved, want %v", got, test.want)
			}
		})
	}
}

func TestPulseNoticesSleep(t *testing.T) {
	t.Parallel()
	p := &pulse{dark: &darkness{}}
	for _, ms := range []int{0, 100, 200, 2200, 5200, 5300} {
		p.beat(at(ms))
	}
	if got, want := p.dark.sum(at(5300)), 3*time.Second; got != want {
		t.Errorf("%v unobserved, want %v: a tick 2 s late is still a tick, one 3 s late is not", got, want)
	}
}
