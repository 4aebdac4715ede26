package ui

import (
	"fmt"
	"sync"
	"time"

	"pai.dev/pai/internal/operation"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/run"
)

// slowStep is how long a step runs before its start gets a line.
const slowStep = 3 * time.Second

// progress shows an operation as lines on standard error: one when a step
// ends, and one before if the step takes long.
type progress struct {
	console *Console

	mu      sync.Mutex
	started map[string]*time.Timer
	outage  time.Time // start of the API outage that was reported
	ends    endsShown
}

func newProgress(c *Console) *progress {
	return &progress{console: c, started: map[string]*time.Timer{}, ends: endsShown{}}
}

func (p *progress) Plan(_ any, text func(*Page)) error { return Text(p.console.Err, text) }

func (p *progress) Event(e run.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	id := string(e.Step.ID)
	switch e.Kind {
	case run.StepStarted:
		elapsed := e.Elapsed
		p.started[id] = time.AfterFunc(slowStep, func() {
			p.console.Progressf("         %6s  %s …", clock(elapsed+slowStep), id)
		})
	case run.StepEnded:
		if t := p.started[id]; t != nil {
			t.Stop()
		}
		p.console.Progressf("%s", endedStep(e))
	case run.Stopping:
		p.console.Progressf("stopping: %s", e.Message)
	}
}

// Witness writes a line for the end of a container, and for an API outage that is
// longer than slowStep.
func (p *progress) Witness(w operation.WitnessStatus) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, line := range p.ends.add(w) {
		p.console.Progressf("%s", line)
	}
	switch since := w.OutageSince; {
	case !since.IsZero() && since != p.outage && time.Since(since) > slowStep:
		p.outage = since
		p.console.Progressf("API server unavailable for %.0f s: %s", time.Since(since).Seconds(), FirstLine(w.APIReason))
	case since.IsZero() && !p.outage.IsZero():
		p.console.Progressf("API server available again after %.1f s", time.Since(p.outage).Seconds())
		p.outage = time.Time{}
	}
}

func (p *progress) Record(op pai.Operation) error { return showReport(p.console, op) }

func (p *progress) Close() {}

func showReport(c *Console, op pai.Operation) error {
	return c.Show(op, func(p *Page) { report(p, op) })
}

// endedStep is one line about a step that ended.
func endedStep(e run.Event) string {
	var result string
	switch e.Outcome {
	case pai.OutcomeSucceeded:
		result = fmt.Sprintf("%.1f s", e.Took.Seconds())
	case pai.OutcomeSkipped:
		result = "already done"
	default:
		result = fmt.Sprintf("%s: %s", e.Outcome, e.Message)
	}
	return fmt.Sprintf("[%2d/%2d] %6s  %s  %s", e.N, e.Of, clock(e.Elapsed), e.Step.ID, result)
}
