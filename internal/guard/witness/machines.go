package witness

import (
	"maps"
	"strings"
	"time"

	"pai.dev/pai/internal/observe/running"
	"pai.dev/pai/internal/pai"
)

// machines is the state of the machines themselves. A machine that fails also
// ends its jobs, and the exit codes in the API are then not the cause.
type machines struct {
	boots       map[string]string    // boot IDs at the start
	last        map[string]time.Time // last report of that boot, before a shutdown
	stopping    map[string]bool      // shutting down
	rebooted    map[string]bool
	unreachable map[string]string // why the last observation failed
}

func newMachines(boots map[string]string) machines {
	m := machines{boots: map[string]string{}, last: map[string]time.Time{}, stopping: map[string]bool{}, rebooted: map[string]bool{}, unreachable: map[string]string{}}
	maps.Copy(m.boots, boots)
	return m
}

// recordReport records the report of a machine about itself.
func (m *machines) recordReport(name string, report running.MachineReport, asked time.Time) {
	delete(m.unreachable, name)
	if report.Err != nil {
		m.unreachable[name] = report.Err.Error()
	}
	if report.Err != nil || report.Boot == "" {
		return
	}
	if m.boots[name] == "" {
		m.boots[name] = report.Boot
	}
	switch {
	case m.boots[name] != report.Boot:
		m.rebooted[name] = true
	case report.Stopping:
		m.stopping[name] = true
	default:
		m.last[name] = asked
	}
}

// explain adds to the cause of an interruption what happened to the machine.
func (m *machines) explain(i pai.Interruption) pai.Interruption {
	switch why, after := m.unreachable[i.Machine], !i.Time.Before(m.last[i.Machine]); {
	case m.rebooted[i.Machine] && after:
		i.Cause = "machine " + i.Machine + " rebooted: " + i.Cause
	case m.stopping[i.Machine] && after:
		i.Cause = "machine " + i.Machine + " was shut down: " + i.Cause
	case why != "" && !strings.Contains(i.Cause, why):
		i.Cause += "; machine " + i.Machine + " is unreachable (" + why + ")"
	}
	return i
}
