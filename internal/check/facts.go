package check

import (
	"context"
	"time"

	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/inspect/helper"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
)

// machineFacts is what a machine reports about itself.
type machineFacts struct {
	// Its clock is ahead of the clock of this host by at least Behind and at most Ahead.
	Behind, Ahead time.Duration
	inspect.Condition
}

// readMachine observes a machine. The machine read its clock after this host did
// first and before this host did last, so both ends of the difference are known.
func readMachine(ctx context.Context, host machine.Host, ports []layout.Port) (machineFacts, error) {
	request := inspect.Request{Parts: []inspect.Part{inspect.ConditionOf}}
	for _, p := range ports {
		request.Ports = append(request.Ports, p.Number)
	}
	started := time.Now()
	report, err := helper.Inspect(ctx, host, request, inspect.ConditionOf)
	if err != nil {
		return machineFacts{}, err
	}
	c := *report.Condition
	return machineFacts{Behind: time.Until(c.Ended), Ahead: c.Began.Sub(started), Condition: c}, nil
}
