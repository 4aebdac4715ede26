package running

import (
	"context"
	"fmt"
	"strings"
	"time"

	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/inspect/helper"
	"pai.dev/pai/internal/machine"
)

// PausesReport has the pauses in the output of the running containers of jobs on a
// machine, or Err if they are unknown.
type PausesReport struct {
	Pauses   map[string]inspect.Pauses // by container ID
	Problems map[string]string         // why those of a container are unknown, by its ID
	Err      error
}

// pausesTimeout limits the reading of the logs of one machine.
const pausesTimeout = 15 * time.Second

// Pauses returns the pauses before and after the moment that was age ago. It asks
// the machines in parallel. No content of a log leaves its machine.
func Pauses(ctx context.Context, hosts map[string]machine.Host, names []string, age time.Duration) map[string]PausesReport {
	return inParallel(hosts, names, func(host machine.Host) PausesReport { return askPauses(ctx, host, age) },
		func(err error) PausesReport { return PausesReport{Err: err} })
}

func askPauses(ctx context.Context, host machine.Host, age time.Duration) PausesReport {
	ctx, cancel := context.WithTimeoutCause(ctx, pausesTimeout, fmt.Errorf("machine %s did not read the logs of its containers within %s", host.Name(), pausesTimeout))
	defer cancel()
	report, err := helper.Inspect(ctx, host, inspect.Request{Parts: []inspect.Part{inspect.PausesOf}, Age: age}, inspect.PausesOf)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return PausesReport{Err: fmt.Errorf("read the logs of the containers of %s: %w", host.Name(), err)}
	}
	problems := map[string]string{}
	for id := range report.Problems {
		if container, found := strings.CutPrefix(id, string(inspect.PausesOf)+" "); found {
			problems[container] = report.Problems[id]
		}
	}
	return PausesReport{Pauses: report.Pauses, Problems: problems}
}
