package cli

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/run"
	"pai.dev/pai/internal/upgrade"
)

// redrawEvery is how often the clocks of a live view go on.
const redrawEvery = 200 * time.Millisecond

// live shows an operation on a terminal: what has ended goes by as lines, and
// below them stay how far it is, what runs, the jobs and the API.
type live struct {
	env    *Env
	screen *screen

	mu    sync.Mutex
	state liveState
	ended chan struct{}
	once  sync.Once
	done  sync.WaitGroup
}

// liveState is what a live view shows; its frame is a function of it.
type liveState struct {
	began     time.Time // zero until the first step
	n, of     int
	running   []runningStep
	stopping  string
	watch     *upgrade.Watching
	elsewhere int // interruptions that are in lines already
}

type runningStep struct {
	id    string
	since time.Time
}

func newLive(env *Env, s *screen) *live {
	l := &live{env: env, screen: s, ended: make(chan struct{})}
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

func (l *live) redraw() {
	l.mu.Lock()
	frame := l.state.frame(time.Now())
	l.mu.Unlock()
	select {
	case <-l.ended:
	default:
		l.screen.show(frame)
	}
}

func (l *live) event(e run.Event) {
	l.mu.Lock()
	l.state.take(e)
	l.mu.Unlock()
	switch e.Kind {
	case run.StepEnded:
		l.env.Progressf("%s", endedLine(e))
	case run.Stopping:
		l.env.Progressf("stopping: %s", e.Message)
	}
	l.redraw()
}

// watching keeps interruptions as lines, too: they must not scroll away
// unseen.
func (l *live) watching(w upgrade.Watching) {
	l.mu.Lock()
	l.state.watch = &w
	news := w.Interrupted[min(l.state.elsewhere, len(w.Interrupted)):]
	l.state.elsewhere = len(w.Interrupted)
	l.mu.Unlock()
	for _, i := range news {
		l.env.Progressf("%s", interruptedLine(i))
	}
}

func (l *live) record(op pai.Operation) error {
	l.close()
	return l.env.Show(op, func(out io.Writer) error { return writeReport(out, op) })
}

func (l *live) close() {
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
		for i, r := range s.running {
			if r.id == id {
				s.running = append(s.running[:i:i], s.running[i+1:]...)
				break
			}
		}
	case run.Stopping:
		s.stopping = e.Message
	}
}

// frame is nil until the first step begins.
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

// watchLines are what the witness sees, in words.
func watchLines(w upgrade.Watching, now time.Time) []string {
	if w.Blind != "" {
		return []string{"  nobody watches the jobs: " + firstLine(w.Blind)}
	}
	api := fmt.Sprintf("the API answers (away %.1f s so far)", w.OutageSeconds)
	if !w.APIAway.IsZero() {
		api = fmt.Sprintf("THE API IS AWAY for %.1f s: %s", now.Sub(w.APIAway).Seconds(), firstLine(w.APIReason))
	}
	jobs := "no jobs ran"
	if w.Jobs > 0 {
		jobs = fmt.Sprintf("%d jobs watched: %d run, %d finished, none interrupted", w.Jobs, w.Running, w.Finished)
	}
	if n := len(w.Interrupted); n > 0 {
		jobs = fmt.Sprintf("%d jobs watched: %d run, %d finished, %d CONTAINERS INTERRUPTED", w.Jobs, w.Running, w.Finished, n)
	}
	return []string{"  " + jobs, "  " + api}
}

func interruptedLine(i pai.Interruption) string {
	return fmt.Sprintf("INTERRUPTED   job %s, container %s of pod %s on %s, at %s, during %s: %s",
		i.Job, i.Container, i.Pod, i.Machine, i.Time.Local().Format("15:04:05"), i.Step, i.Cause)
}

// bar is how far it is, twenty characters wide.
func bar(n, of int) string {
	const width = 20
	filled := 0
	if of > 0 {
		filled = min(width, n*width/of)
	}
	return "[" + strings.Repeat("#", filled) + strings.Repeat(".", width-filled) + "]"
}
