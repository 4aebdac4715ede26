package running

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/inspect/helper"
	"pai.dev/pai/internal/machine"
)

// Container is a running container on a machine.
type Container = inspect.Container

// MachineReport has the containers of a machine, or Err if they are unknown.
type MachineReport struct {
	// Boot is the boot ID of the kernel, which changes with each reboot; empty if
	// unknown.
	Boot string
	// Stopping is true while the machine shuts down; StateUnknown is true if it can be.
	Stopping     bool
	StateUnknown bool
	Containers   []Container
	Err          error
}

// machineTimeout limits the list of containers of one machine.
const machineTimeout = 10 * time.Second

// Containers lists the running containers of pods on a machine.
func Containers(ctx context.Context, host machine.Host) ([]Container, error) {
	m := ask(ctx, host)
	return m.Containers, m.Err
}

func ask(ctx context.Context, host machine.Host) MachineReport {
	ctx, cancel := context.WithTimeoutCause(ctx, machineTimeout, fmt.Errorf("machine %s did not list its containers within %s", host.Name(), machineTimeout))
	defer cancel()
	report, err := helper.Parts(ctx, host, inspect.Containers)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return MachineReport{Err: fmt.Errorf("list the containers of %s: %w", host.Name(), err)}
	}
	return MachineReport{Boot: report.Activity.Boot, Stopping: report.Activity.Stopping, Containers: report.Activity.Containers,
		StateUnknown: report.ProblemOf(inspect.Containers, "stopping") != nil}
}

// parallelMachines is the number of machines that are asked in parallel.
const parallelMachines = 16

// Machines returns the reports of machines, which it asks in parallel. The report
// of a machine that is not in hosts has an error.
func Machines(ctx context.Context, hosts map[string]machine.Host, names []string) map[string]MachineReport {
	return inParallel(hosts, names, func(host machine.Host) MachineReport { return ask(ctx, host) },
		func(err error) MachineReport { return MachineReport{Err: err} })
}

// inParallel calls f for machines, and failed for those that are not in hosts.
func inParallel[R any](hosts map[string]machine.Host, names []string, f func(machine.Host) R, failed func(error) R) map[string]R {
	reports := make([]R, len(names))
	var group errgroup.Group
	group.SetLimit(parallelMachines)
	for i, name := range names {
		group.Go(func() error {
			if host := hosts[name]; host != nil {
				reports[i] = f(host)
			} else {
				reports[i] = failed(fmt.Errorf("no connection to machine %s", name))
			}
			return nil
		})
	}
	_ = group.Wait() // the errors are in the reports
	byName := make(map[string]R, len(names))
	for i, name := range names {
		byName[name] = reports[i]
	}
	return byName
}
