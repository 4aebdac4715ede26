package cluster

import (
	"context"

	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/machine"
)

// facts are what the settings of a machine depend on.
type facts = inspect.MachineFacts

func readFacts(ctx context.Context, h machine.Host) (facts, error) {
	report, err := inspectMachine(ctx, h, inspect.Request{Parts: []inspect.Part{inspect.Facts}}, inspect.Facts)
	if err != nil {
		return facts{}, err
	}
	return *report.Facts, nil
}
