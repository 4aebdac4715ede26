package cli

import (
	"encoding/json"
	"fmt"
	"time"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/run"
)

// slowStep is how long a step may take before its start is worth a line.
const slowStep = 3 * time.Second

// progress shows on standard error what an operation does: a line when a step
// ends, and one before, when it takes long. With -o json each event is a line
// of JSON instead.
type progress struct {
	env     *Env
	started map[string]*time.Timer
}

func newProgress(env *Env) *progress {
	return &progress{env: env, started: map[string]*time.Timer{}}
}

// event is called one event at a time.
func (p *progress) event(e run.Event) {
	if p.env.JSON() {
		if line, err := json.Marshal(e); err == nil {
			p.env.Progressf("%s", line)
		}
		return
	}
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
		p.env.Progressf("[%2d/%2d] %6s  %s  %s", e.N, e.Of, clock(e.Elapsed), id, ended(e))
	case run.Stopping:
		p.env.Progressf("stopping: %s", e.Message)
	}
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
