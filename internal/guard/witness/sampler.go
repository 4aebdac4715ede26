package witness

import (
	"context"
	"sync"
	"time"

	"pai.dev/pai/internal/pai"
)

// sampler asks the same questions again and again. A sample is started every
// time tick is called, however slow the ones before are, and succeeds when
// all questions were answered within the time-out.
type sampler struct {
	timeout   time.Duration
	questions []func(ctx context.Context) error

	mu      sync.Mutex
	gaps    gaps
	queue   []*attempt // in the order of their start; the first ones may be answered
	lastErr error
	running sync.WaitGroup
}

// attempt is a sample under way.
type attempt struct {
	sample
	done bool
}

// maxAttempts bounds how many samples are under way. Each ends with its
// time-out, so the bound is not reached unless this process is starved.
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
	// An end of the witness is not the API's fault: samples under way go on.
	ctx = context.WithoutCancel(ctx)
	s.running.Go(func() { s.finished(a, s.ask(ctx)) })
}

// ask asks all questions side by side.
func (s *sampler) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	answers := make(chan error, len(s.questions))
	for _, q := range s.questions {
		go func() { answers <- q(ctx) }()
	}
	var failure error
	for range s.questions {
		if err := <-answers; err != nil {
			failure = err
		}
	}
	return failure
}

// finished notes an answer, and accounts for all samples at the head of the
// queue that are answered.
func (s *sampler) finished(a *attempt, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a.end, a.ok, a.done = time.Now(), err == nil, true
	for len(s.queue) > 0 && s.queue[0].done {
		s.gaps.add(s.queue[0].sample)
		s.queue = s.queue[1:]
	}
	s.lastErr = err
}

// pause drops the samples under way: nobody looked since.
func (s *sampler) pause(at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = nil
	s.gaps.pause(at)
}

// sum is the account up to a moment.
func (s *sampler) sum(at time.Time) pai.Availability {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.gaps.sum(at)
}

// awaySince is when the open gap began; zero when the last sample succeeded.
func (s *sampler) awaySince() (time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.gaps.failing {
		return time.Time{}, nil
	}
	return s.gaps.from, s.lastErr
}

// wait waits for the samples under way; each ends within the time-out.
func (s *sampler) wait() { s.running.Wait() }
