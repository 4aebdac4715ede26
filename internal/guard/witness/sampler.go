package witness

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"pai.dev/pai/internal/pai"
)

// sampler sends the same requests repeatedly. Each call of tick starts a sample,
// regardless of slow samples before it. A sample succeeds if all requests succeed
// within the timeout.
type sampler struct {
	timeout  time.Duration
	requests []func(ctx context.Context) error

	mu      sync.Mutex
	gaps    gaps
	queue   []*attempt // in the order of their start; some might be done
	lastErr error
	running sync.WaitGroup
}

// attempt is a sample in progress.
type attempt struct {
	sample
	done bool
}

// maxAttempts is the limit of samples in progress. Each ends with its timeout, so
// the limit is reached only if this process gets no CPU time.
func (s *sampler) maxAttempts() int { return int(s.timeout/sampleEvery) + 5 }

// tick starts a sample.
func (s *sampler) tick(ctx context.Context, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) >= s.maxAttempts() {
		return
	}
	a := &attempt{sample: sample{start: now}}
	s.queue = append(s.queue, a)
	// The end of the witness is not an outage: samples in progress continue.
	ctx = context.WithoutCancel(ctx)
	s.running.Go(func() { s.finish(a, s.send(ctx)) })
}

// send sends all requests in parallel.
func (s *sampler) send(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	var group errgroup.Group
	for _, request := range s.requests {
		group.Go(func() error { return request(ctx) })
	}
	return group.Wait()
}

// finish records the result of a sample, and adds the samples at the head of the
// queue that are done to the gaps.
func (s *sampler) finish(a *attempt, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a.end, a.ok, a.done = time.Now(), err == nil, true
	for len(s.queue) > 0 && s.queue[0].done {
		s.gaps.add(s.queue[0].sample)
		s.queue = s.queue[1:]
	}
	s.lastErr = err
}

// pause drops the samples in progress: the process was not running since at.
func (s *sampler) pause(at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = nil
	s.gaps.pause(at)
}

// sum returns the availability until a moment.
func (s *sampler) sum(at time.Time) pai.Availability {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.gaps.sum(at)
}

// current returns the current outage; zero if the last sample succeeded.
func (s *sampler) current() Outage {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.gaps.failing {
		return Outage{}
	}
	o := Outage{Since: s.gaps.from}
	if s.lastErr != nil {
		o.Reason = s.lastErr.Error()
	}
	return o
}

// wait waits for the samples in progress; each ends within the timeout.
func (s *sampler) wait() { s.running.Wait() }
