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
	known       map[string]time.Time // since when the boot ID is known; zero for the start
	last        map[string]time.Time // last report of that boot, before a shutdown
	stopping    map[string]bool      // shutting down
	rebooted    map[string]bool
	unreachable map[string]string // why the last observation failed
}

func newMachines(boots map[string]string) machines {
	m := machines{boots: map[string]string{}, known: map[string]time.Time{}, last: map[string]time.Time{}, stopping: map[string]bool{}, rebooted: map[string]bool{}, unreachable: map[string]string{}}
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
		m.boots[name], m.known[name] = report.Boot, asked
	}
	switch {
	case m.boots[name] != report.Boot:
		m.rebooted[name] = true
	case report.Stopping:
		m.stopping[name] = true
	case !report.StateUnknown:
		m.last[name] = asked
	}
}

// since returns what is known of a machine since it last reported a container
// alive, whose end was noticed later.
func (m *machines) since(name string, lastSeen, noticed, ended time.Time) bootState {
	after := !ended.Before(m.last[name])
	switch {
	case m.rebooted[name] && after:
		return bootOther
	case m.stopping[name] && after:
		return bootStopping
	case m.boots[name] == "" || m.known[name].After(lastSeen):
		return bootUnknown
	case !m.last[name].After(noticed):
		return bootPending
	default:
		return bootSame
	}
}

// explain adds to the cause of an end what happened to the machine. failed is true
// if the machine ended the container.
func (m *machines) explain(e pai.ContainerEnd) (_ pai.ContainerEnd, failed bool) {
	why, after := m.unreachable[e.Machine], !e.Time.Before(m.last[e.Machine])
	switch {
	case m.rebooted[e.Machine] && after:
		e.Cause = "machine " + e.Machine + " rebooted: " + e.Cause
		return e, true
	case m.stopping[e.Machine] && after:
		e.Cause = "machine " + e.Machine + " was shut down: " + e.Cause
		return e, true
	case why != "" && !strings.Contains(e.Cause, why):
		e.Cause += "; machine " + e.Machine + " is unreachable (" + why + ")"
	}
	return e, false
}
