package cluster

import (
	"context"

	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/inspect/helper"
	"pai.dev/pai/internal/machine"
)

// facts are what the settings of a machine depend on.
type facts = inspect.MachineFacts

func (c *cluster) facts(ctx context.Context, h machine.Host) (facts, error) {
	return once(ctx, &c.answers, "the facts of "+h.Name(), func(ctx context.Context) (facts, error) { return readFacts(ctx, h) })
}

func readFacts(ctx context.Context, h machine.Host) (facts, error) {
	report, err := helper.Parts(ctx, h, inspect.Facts)
	if err != nil {
		return facts{}, err
	}
	return *report.Facts, nil
}
