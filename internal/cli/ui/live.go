package ui

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"pai.dev/pai/internal/operation"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/run"
)

// redrawEvery is the interval at which the clocks of a live view advance.
const redrawEvery = 200 * time.Millisecond

// live shows an operation on a terminal: ended steps scroll by as lines, and
// below them stay the progress, the running steps, the jobs, and the API.
type live struct {
	console *Console
	screen  *screen
	now     func() time.Time

	mu    sync.Mutex
	state liveState
	ended chan struct{}
	once  sync.Once
	done  sync.WaitGroup
}

// liveState is what a live view shows; its frame is a function of it.
type liveState struct {
	began    time.Time // zero until the first step
	n, of    int
	running  []runningStep
	stopping string
	watch    *operation.WitnessStatus
	ends     endsShown
}

type runningStep struct {
	id    string
	since time.Time
}

func newLive(c *Console, s *screen, now func() time.Time) *live {
	l := &live{console: c, screen: s, now: now, state: liveState{ends: endsShown{}}, ended: make(chan struct{})}
	l.done.Go(func() {
		ticker := time.NewTicker(redrawEvery)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				l.redraw()
			case <-l.ended:
				return
			}
		}
	})
	return l
}

func (l *live) Plan(_ any, text func(*Page)) error { return Text(l.console.Err, text) }

func (l *live) redraw() {
	l.mu.Lock()
	frame := l.state.frame(l.now())
	l.mu.Unlock()
	select {
	case <-l.ended:
	default:
		l.screen.show(frame)
	}
}

func (l *live) Event(e run.Event) {
	l.mu.Lock()
	l.state.take(e)
	l.mu.Unlock()
	switch e.Kind {
	case run.StepStarted: // is in the frame
	case run.StepEnded:
		l.console.Progressf("%s", endedStep(e))
	case run.Stopping:
		l.console.Progressf("stopping: %s", e.Message)
	}
	l.redraw()
}

// Witness also writes the ends of containers as lines: the frame does not last.
func (l *live) Witness(w operation.WitnessStatus) {
	l.mu.Lock()
	l.state.watch = &w
	added := l.state.ends.add(w)
	l.mu.Unlock()
	for _, line := range added {
		l.console.Progressf("%s", line)
	}
}

func (l *live) Record(op pai.Operation) error {
	l.Close()
	return showReport(l.console, op)
}

func (l *live) Close() {
	l.once.Do(func() {
		close(l.ended)
		l.done.Wait()
		l.screen.show(nil)
	})
}

func (s *liveState) take(e run.Event) {
	if s.began.IsZero() {
		s.began = e.Time.Add(-e.Elapsed)
	}
	s.of = e.Of
	switch id := string(e.Step.ID); e.Kind {
	case run.StepStarted:
		s.running = append(s.running, runningStep{id, e.Time})
	case run.StepEnded:
		s.n = e.N
		s.running = slices.DeleteFunc(s.running, func(r runningStep) bool { return r.id == id })
	case run.Stopping:
		s.stopping = e.Message
	}
}

// frame is nil until the first step starts.
func (s *liveState) frame(now time.Time) []string {
	if s.began.IsZero() {
		return nil
	}
	head := fmt.Sprintf("%s step %d of %d, %s", bar(s.n, s.of), s.n, s.of, clock(now.Sub(s.began)))
	if s.stopping != "" {
		head += ", stopping: " + s.stopping
	}
	lines := []string{head}
	for _, r := range s.running {
		lines = append(lines, fmt.Sprintf("  %6s  %s", clock(now.Sub(r.since)), r.id))
	}
	if s.watch != nil {
		lines = append(lines, watchLines(*s.watch, now)...)
	}
	return lines
}

// watchLines is what the witness observes.
func watchLines(w operation.WitnessStatus, now time.Time) []string {
	if w.Unobserved != "" {
		return []string{"  jobs are not observed: " + FirstLine(w.Unobserved)}
	}
	api := fmt.Sprintf("API server available (outage so far: %.1f s)", w.OutageSeconds)
	if !w.OutageSince.IsZero() {
		api = fmt.Sprintf("API SERVER UNAVAILABLE for %.1f s: %s", now.Sub(w.OutageSince).Seconds(), FirstLine(w.APIReason))
	}
	jobs := "no jobs were running"
	if w.Jobs > 0 {
		interrupted := "none interrupted"
		if n := len(w.Interrupted) + len(w.Unknown); n > 0 {
			interrupted = fmt.Sprintf("%d CONTAINERS INTERRUPTED", n)
		}
		if n := len(w.Failed); n > 0 {
			interrupted += fmt.Sprintf(", %d containers failed by themselves", n)
		}
		jobs = fmt.Sprintf("%d jobs watched: %d running, %d finished, %s", w.Jobs, w.Running, w.Finished, interrupted)
	}
	return []string{"  " + jobs, "  " + api}
}

// bar is a progress bar of twenty characters.
func bar(n, of int) string {
	const width = 20
	filled := 0
	if of > 0 {
		filled = min(width, n*width/of)
	}
	return "[" + strings.Repeat("#", filled) + strings.Repeat(".", width-filled) + "]"
}
