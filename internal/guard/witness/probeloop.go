package witness

import (
	"context"
	"fmt"
	"time"

	"k8s.io/client-go/rest"
)

// probeLoop starts a sample of each sampler every 100 ms, records the step in
// progress, and detects periods in which this process was not running.
type probeLoop struct {
	fresh, kept, submit *sampler
	admit               *sampler
	clients             []*probeClient
	submission          *submission

	unobserved *unobservedTime
	last       time.Time // last tick; only run uses it
}

// pausedAfter is how late a tick can be before the time counts as unobserved.
const pausedAfter = 2 * time.Second

func newProbeLoop(cfg *rest.Config, unobserved *unobservedTime) (*probeLoop, error) {
	p := &probeLoop{unobserved: unobserved}
	for _, keep := range []bool{false, true} {
		c, err := newProbeClient(cfg, keep)
		if err != nil {
			return nil, fmt.Errorf("create a client for sampling: %w", err)
		}
		p.clients = append(p.clients, c)
	}
	fresh, kept := p.clients[0], p.clients[1]
	p.submission = &submission{client: kept, namespace: "default"}
	p.fresh = &sampler{timeout: sampleTimeout, requests: []func(context.Context) error{fresh.getRequest(readyPath), fresh.getRequest(readPath)}}
	p.kept = &sampler{timeout: sampleTimeout, requests: []func(context.Context) error{kept.getRequest(readyPath), kept.getRequest(readPath)}}
	p.submit = &sampler{timeout: submitTimeout, requests: []func(context.Context) error{p.submission.test}}
	p.admit = &sampler{timeout: submitTimeout, requests: []func(context.Context) error{admission{kept}.test}}
	return p, nil
}

// run samples until ctx ends.
func (p *probeLoop) run(ctx context.Context, steps *timeline, inProgress func() []Step) {
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
		steps.record(inProgress)
		p.tick(ctx, n, now)
	}
}

func (p *probeLoop) tick(ctx context.Context, n int, now time.Time) {
	if from, paused := p.recordTick(now); paused {
		for _, s := range p.samplers() {
			s.pause(from)
		}
	}
	p.fresh.tick(ctx, now)
	p.kept.tick(ctx, now)
	if n%int(submitEvery/sampleEvery) == 0 {
		p.submit.tick(ctx, now)
		p.admit.tick(ctx, now)
	}
}

// recordTick reports whether and since when this process was not running.
func (p *probeLoop) recordTick(now time.Time) (from time.Time, paused bool) {
	from, p.last = p.last, now
	gap := elapsed(from, now)
	if from.IsZero() || gap <= pausedAfter {
		return from, false
	}
	p.unobserved.add(now.Add(-gap), now)
	return from, true
}

// elapsed returns the time by the monotonic clock or by the wall clock, whichever
// is longer: the monotonic clock stops while a computer is suspended.
func elapsed(from, to time.Time) time.Duration {
	return max(to.Sub(from), to.Round(0).Sub(from.Round(0)))
}

func (p *probeLoop) samplers() []*sampler { return []*sampler{p.fresh, p.kept, p.submit, p.admit} }

// counted returns the times of the samplers until a moment.
func (p *probeLoop) counted(now time.Time) Counted {
	return Counted{New: p.fresh.sum(now), Kept: p.kept.sum(now), Submission: p.submit.sum(now), Admission: p.admit.sum(now), UnobservedSeconds: p.unobserved.sum(now).Seconds()}
}

// close waits for the samples in progress and closes the connections.
func (p *probeLoop) close() {
	for _, s := range p.samplers() {
		s.wait()
	}
	for _, c := range p.clients {
		c.http.CloseIdleConnections()
	}
}

// Sample samples an API until ctx ends, as a witness does, and returns for how
// long it was unavailable for new and for kept connections. It watches nothing
// else. Benchmarks use it to compare PAI with other tools.
func Sample(ctx context.Context, cfg *rest.Config) (Counted, error) {
	p, err := newProbeLoop(cfg, &unobservedTime{})
	if err != nil {
		return Counted{}, err
	}
	defer p.close()
	p.run(ctx, &timeline{}, func() []Step { return nil })
	now := time.Now()
	for _, s := range p.samplers() {
		s.wait()
	}
	return p.counted(now), nil
}
