package operation

import (
	"context"
	"fmt"
	"path"
	"regexp"

	"pai.dev/pai/internal/cluster"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/run"
	"pai.dev/pai/internal/session"
)

// volumes is the doer of plan.KindVolume: it deletes the directory with the state
// of a service on every machine, because the service might have run on another
// one before. The step runs after the service is deleted.
type volumes struct{ s *session.Session }

// volumeName is the form of a service name, which is also the name of its
// volume. Nothing else below the directory of PAI is ever deleted.
var volumeName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)

func (v volumes) dir(step plan.Step) (string, error) {
	if !volumeName.MatchString(step.Target) || pai.IsReservedVolume(step.Target) {
		return "", fmt.Errorf("invalid volume name %q", step.Target)
	}
	return path.Join(run.Dir, step.Target), nil
}

// Done reports whether no machine has the directory. An unreachable machine
// might have it.
func (v volumes) Done(ctx context.Context, step plan.Step) (bool, error) {
	dir, err := v.dir(step)
	if err != nil {
		return false, err
	}
	for _, m := range v.s.Config.Layout.MachineList {
		host := v.s.Hosts[m.Hostname]
		if host == nil {
			return false, nil
		}
		removed, err := cluster.DirectoryRemoved(ctx, host, dir)
		if err != nil {
			return false, fmt.Errorf("look for %s on machine %s: %w", dir, m.Hostname, err)
		}
		if !removed {
			return false, nil
		}
	}
	return true, nil
}

func (v volumes) Do(ctx context.Context, step plan.Step) error {
	dir, err := v.dir(step)
	if err != nil {
		return err
	}
	for _, m := range v.s.Config.Layout.MachineList {
		host := v.s.Hosts[m.Hostname]
		if host == nil {
			return pai.Errorf(pai.CodeFailed, "check that the machine runs, then run the same command again",
				"cannot delete %s: machine %s is unreachable", dir, m.Hostname)
		}
		if err := cluster.RemoveDirectory(ctx, host, dir); err != nil {
			return fmt.Errorf("delete %s on machine %s: %w", dir, m.Hostname, err)
		}
	}
	return nil
}

// Diff lists the directory.
func (v volumes) Diff(_ context.Context, step plan.Step) ([]plan.StepDiff, error) {
	dir, err := v.dir(step)
	if err != nil {
		return nil, err
	}
	return []plan.StepDiff{{What: "directory " + dir, Action: plan.Deleted, Note: "on every machine that has it"}}, nil
}
