package cli

import (
	"fmt"
	"io"
	"sync"
	"time"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/run"
	"pai.dev/pai/internal/upgrade"
)

// slowStep is how long a step may take before its start is worth a line.
const slowStep = 3 * time.Second

// progress shows on standard error what an operation does: a line when a step
// ends, and one before, when it takes long.
type progress struct {
	env *Env

	mu      sync.Mutex
	started map[string]*time.Timer
	away    time.Time // since when the API was said to be away
	told    int       // interruptions
}

func newProgress(env *Env) *progress {
	return &progress{env: env, started: map[string]*time.Timer{}}
}

// event is called one event at a time.
func (p *progress) event(e run.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	id := string(e.Step.ID)
	switch e.Kind {
	case run.StepStarted:
		elapsed := e.Elapsed
		p.started[id] = time.AfterFunc(slowStep, func() {
			p.env.Progressf("         %6s  %s …", clock(elapsed+slowStep), id)
		})
	case run.StepEnded:
		if t := p.started[id]; t != nil {
			t.Stop()
		}
		p.env.Progressf("%s", endedLine(e))
	case run.Stopping:
		p.env.Progressf("stopping: %s", e.Message)
	}
}

// watching has a line for what nobody should learn only from the report.
func (p *progress) watching(w upgrade.Watching) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, i := range w.Interrupted[min(p.told, len(w.Interrupted)):] {
		p.env.Progressf("%s", interruptedLine(i))
	}
	p.told = len(w.Interrupted)
	switch away := w.APIAway; {
	case !away.IsZero() && away != p.away && time.Since(away) > slowStep:
		p.away = away
		p.env.Progressf("the API has been away for %.0f s: %s", time.Since(away).Seconds(), firstLine(w.APIReason))
	case away.IsZero() && !p.away.IsZero():
		p.env.Progressf("the API answers again, after %.1f s", time.Since(p.away).Seconds())
		p.away = time.Time{}
	}
}

func (p *progress) record(op pai.Operation) error {
	return p.env.Show(op, func(out io.Writer) error { return writeReport(out, op) })
}

func (p *progress) close() {}

// endedLine is a step that has ended, on a line.
func endedLine(e run.Event) string {
	return fmt.Sprintf("[%2d/%2d] %6s  %s  %s", e.N, e.Of, clock(e.Elapsed), e.Step.ID, ended(e))
}

func ended(e run.Event) string {
	switch e.Outcome {
	case pai.OutcomeSucceeded:
		return fmt.Sprintf("%.1f s", e.Took.Seconds())
	case pai.OutcomeSkipped:
		return "is done"
	default:
		return fmt.Sprintf("%s: %s", e.Outcome, e.Message)
	}
}

// clock is minutes and seconds.
func clock(d time.Duration) string {
	d = d.Round(time.Second)
	return fmt.Sprintf("%d:%02d", int(d.Minutes()), int(d.Seconds())%60)
}
