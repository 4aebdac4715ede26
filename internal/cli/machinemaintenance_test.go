package cli

import (
	"strings"
	"testing"
	"time"

	"pai.dev/pai/internal/cli/ui"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// A machine in maintenance is shown with the record, on or off.
func TestStatusShowsMaintenance(t *testing.T) {
	t.Parallel()
	record := &pai.Maintenance{Since: time.Date(2026, 11, 27, 9, 30, 0, 0, time.UTC), By: "ann@ops"}
	const since = "in maintenance since 2026-11-27 09:30 UTC by ann@ops"
	cordoned := &plan.Node{Ready: true, Unschedulable: true, Maintenance: "op-1", InMaintenance: true}
	for name, c := range map[string]struct {
		machine  plan.MachineState
		apiError string
		want     string
	}{
		"on":                 {plan.MachineState{Maintenance: record, Node: cordoned}, "", since},
		"off":                {plan.MachineState{Maintenance: record, Node: cordoned, Unreachable: "no route to host"}, "", "unreachable, " + since},
		"in an outage":       {plan.MachineState{Maintenance: record}, "connection refused", since},
		"uncordoned":         {plan.MachineState{Maintenance: record, Node: &plan.Node{Ready: true}}, "", since + ", but not cordoned; run: paictl machine maintain "},
		"waits for jobs":     {plan.MachineState{Node: &plan.Node{Ready: true, Unschedulable: true, Maintenance: "op-1"}}, "", "ready, cordoned for maintenance"},
		"of an operator":     {plan.MachineState{Node: &plan.Node{Ready: true, Unschedulable: true}}, "", "ready, cordoned by an operator"},
		"of another upgrade": {plan.MachineState{Node: &plan.Node{Ready: true, Unschedulable: true, CordonedByPAI: true}}, "", "ready, cordoned by PAI"},
	} {
		if got := machineState(c.machine, c.apiError); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
	var b strings.Builder
	list := []machineEntry{{Name: "gpu-01", Address: "10.0.0.2", Port: 22, State: "unreachable", Maintenance: record}}
	if err := ui.Text(&b, func(p *ui.Page) { writeMachines(p, list) }); err != nil || !strings.Contains(b.String(), "unreachable, "+since) {
		t.Errorf("got %v, %q, want the maintenance", err, b.String())
	}
}
