package witness

import (
	"context"
	"fmt"
	"time"

	"k8s.io/client-go/rest"
)

// pulse is the clock of the samplers: it starts a sample of each every 100 ms,
// notes which step is in progress, and notices when this process did not run.
type pulse struct {
	fresh, kept, submit *sampler
	clients             []*probeClient
	submission          *submission

	dark *darkness
	last time.Time // of the last tick; run's alone
}

// asleepAfter is how late a tick may be before the time counts as unobserved.
const asleepAfter = 2 * time.Second

func newPulse(cfg *rest.Config, dark *darkness) (*pulse, error) {
	p := &pulse{dark: dark}
	for range 2 {
		c, err := newProbeClient(cfg, len(p.clients) == 1)
		if err != nil {
			return nil, fmt.Errorf("make a client for sampling: %w", err)
		}
		p.clients = append(p.clients, c)
	}
	fresh, kept := p.clients[0], p.clients[1]
	p.submission = &submission{client: kept, namespace: "default"}
	p.fresh = &sampler{timeout: sampleTimeout, questions: []func(context.Context) error{fresh.get(readyPath), fresh.get(readPath)}}
	p.kept = &sampler{timeout: sampleTimeout, questions: []func(context.Context) error{kept.get(readyPath), kept.get(readPath)}}
	p.submit = &sampler{timeout: submitTimeout, questions: []func(context.Context) error{p.submission.ask}}
	return p, nil
}

// submitIn names the namespace in which job submission is tried.
func (p *pulse) submitIn(namespace string) { p.submission.namespace = namespace }

// run samples until ctx ends.
func (p *pulse) run(ctx context.Context, steps *timeline, step func() string) {
	ticker := time.NewTicker(sampleEvery)
	defer ticker.Stop()
	p.tick(ctx, 0, time.Now())
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := time.Now()
		steps.note(now, step())
		p.tick(ctx, n, now)
	}
}

func (p *pulse) tick(ctx context.Context, n int, now time.Time) {
	if from, asleep := p.beat(now); asleep {
		for _, s := range p.samplers() {
			s.pause(from)
		}
	}
	p.fresh.tick(ctx, now)
	p.kept.tick(ctx, now)
	if n%int(submitEvery/sampleEvery) == 0 {
		p.submit.tick(ctx, now)
	}
}

// beat notes a tick, and says whether and since when this process slept.
func (p *pulse) beat(now time.Time) (from time.Time, asleep bool) {
	from, p.last = p.last, now
	if from.IsZero() {
		return from, false
	}
	gap := elapsed(from, now)
	if gap <= asleepAfter {
		return from, false
	}
	p.dark.add(now.Add(-gap), now)
	return from, true
}

// elapsed counts the time in which a suspended computer's own clock stands
// still: that of the wall, where it says more.
func elapsed(from, to time.Time) time.Duration {
	return max(to.Sub(from), to.Round(0).Sub(from.Round(0)))
}

func (p *pulse) samplers() []*sampler { return []*sampler{p.fresh, p.kept, p.submit} }

// counted is the time counted by the samplers up to a moment.
func (p *pulse) counted(now time.Time) Counted {
	return Counted{New: p.fresh.sum(now), Kept: p.kept.sum(now), Submission: p.submit.sum(now)}
}

// away says since when a sampler's last answers were failures, and why.
func (p *pulse) away() (api, submission Outage) {
	return awayOf(p.fresh), awayOf(p.submit)
}

func awayOf(s *sampler) Outage {
	since, err := s.awaySince()
	a := Outage{Since: since}
	if err != nil {
		a.Reason = err.Error()
	}
	return a
}

// close waits for the samples under way and closes the connections.
func (p *pulse) close() {
	for _, s := range p.samplers() {
		s.wait()
	}
	for _, c := range p.clients {
		c.close()
	}
}
