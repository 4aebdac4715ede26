package witness

import (
	"strings"
	"time"

	"pai.dev/pai/internal/observe/running"
	"pai.dev/pai/internal/pai"
)

// machines is what is known of the machines themselves: which boot each is in,
// and which do not answer. A machine that dies takes its jobs along, and what
// the API says of their containers afterwards is not why they ended.
type machines struct {
	boots    map[string]string    // as they were at the start
	last     map[string]time.Time // when each was last seen in that boot, and not about to end it
	stopping map[string]bool      // seen to shut down
	anew     map[string]bool      // started anew since
	silent   map[string]string    // why it could not be asked the last time
}

func newMachines(boots map[string]string) machines {
	m := machines{boots: map[string]string{}, last: map[string]time.Time{}, stopping: map[string]bool{}, anew: map[string]bool{}, silent: map[string]string{}}
	for name, boot := range boots {
		m.boots[name] = boot
	}
	return m
}

// answered takes note of what a machine said of itself when it was asked.
func (m *machines) answered(name string, answer running.MachineReport, asked time.Time) {
	delete(m.silent, name)
	if answer.Boot == "" {
		return
	}
	if m.boots[name] == "" {
		m.boots[name] = answer.Boot
	}
	switch {
	case m.boots[name] != answer.Boot:
		m.anew[name] = true
	case answer.Stopping:
		m.stopping[name] = true
	default:
		m.last[name] = asked
	}
}

// explain adds to why a container ended what became of its machine since.
func (m *machines) explain(i pai.Interruption) pai.Interruption {
	switch why, after := m.silent[i.Machine], !i.Time.Before(m.last[i.Machine]); {
	case m.anew[i.Machine] && after:
		i.Cause = "machine " + i.Machine + " was started anew: " + i.Cause
	case m.stopping[i.Machine] && after:
		i.Cause = "machine " + i.Machine + " was shut down: " + i.Cause
	case why != "" && !strings.Contains(i.Cause, why):
		i.Cause += "; machine " + i.Machine + " does not answer (" + why + ")"
	}
	return i
}
