package operation

import (
	"context"
	"fmt"
	"path"
	"regexp"

	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/run"
	"pai.dev/pai/internal/session"
)

// volumes carries out plan.KindVolume: it deletes the folder in which a service
// kept its state, on every machine, because the service may have run on another
// one before. It comes after the service's own deletion.
type volumes struct{ s *session.Session }

// volumeName is what a service, and so its volume, is called. Nothing else is
// ever deleted below PAI's folder.
var volumeName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)

func (v volumes) folder(step plan.Step) (string, error) {
	if !volumeName.MatchString(step.Target) {
		return "", fmt.Errorf("%q is not the name of a volume", step.Target)
	}
	return path.Join(run.Dir, step.Target), nil
}

// Done is true when no machine has the folder. One that does not answer may.
func (v volumes) Done(ctx context.Context, step plan.Step) (bool, error) {
	folder, err := v.folder(step)
	if err != nil {
		return false, err
	}
	for _, m := range v.s.Config.Layout.MachineList {
		host := v.s.Hosts[m.Hostname]
		if host == nil {
			return false, nil
		}
		out, err := host.Run(ctx, machine.Command{Script: "if [ -e " + machine.Quote(folder) + " ]; then echo there; fi"})
		if err != nil {
			return false, fmt.Errorf("look for %s on %s: %w", folder, m.Hostname, err)
		}
		if out.Stdout != "" {
			return false, nil
		}
	}
	return true, nil
}

func (v volumes) Do(ctx context.Context, step plan.Step) error {
	folder, err := v.folder(step)
	if err != nil {
		return err
	}
	for _, m := range v.s.Config.Layout.MachineList {
		host := v.s.Hosts[m.Hostname]
		if host == nil {
			return pai.Errorf(pai.CodeFailed, "see that it answers, and run the same command again",
				"machine %s does not answer, so %s cannot be deleted there", m.Hostname, folder)
		}
		if _, err := host.Run(ctx, machine.Command{Script: "rm -rf -- " + machine.Quote(folder)}); err != nil {
			return fmt.Errorf("delete %s on %s: %w", folder, m.Hostname, err)
		}
	}
	return nil
}

// Diff lists the folder on each machine.
func (v volumes) Diff(_ context.Context, step plan.Step) ([]plan.Change, error) {
	folder, err := v.folder(step)
	if err != nil {
		return nil, err
	}
	return []plan.Change{{What: "folder " + folder, Action: plan.Deleted, Note: "on every machine that has it"}}, nil
}
