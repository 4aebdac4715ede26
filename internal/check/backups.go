package check

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pai.dev/pai/internal/backup"
	"pai.dev/pai/internal/cluster"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/plan"
)

// scheduledBackup warns if the backups that the control-plane machine makes without an
// operator fail, or are older than two of them should be.
func scheduledBackup(ctx context.Context, w *world) ([]Result, error) {
	name := w.Config.ControlPlane().Hostname
	host := w.Hosts[name]
	if host == nil {
		return nil, fmt.Errorf("machine %q is unreachable", name)
	}
	there, err := cluster.ReadBackups(ctx, host)
	if err != nil {
		return nil, err
	}
	if there.StatusProblem != "" {
		return nil, errors.New(there.StatusProblem)
	}
	differs := ""
	for _, m := range w.World.Machines {
		if m.Name == name {
			differs = m.BackupTimer
		}
	}
	where := "backups go to " + w.Config.Kubernetes.Backup.To
	return []Result{scheduledBackupOf(name, where, there.Status, there.Active, differs, time.Now())}, nil
}

func scheduledBackupOf(name, where string, s backup.Status, active bool, differs string, now time.Time) Result {
	const boot = "run: paictl cluster k8s-bootup"
	logs := "for the reason, run: paictl machine shell " + name + " -- journalctl --unit=" + layout.BackupUnit + " --lines=20"
	found := s.Describe(now) + "; " + where
	switch {
	case !active:
		return warning(name, boot, "the timer for backups does not run; %s", found)
	case s.Failed(), s.Success == nil:
		return warning(name, logs, "%s", found)
	case s.Old(now):
		return warning(name, logs, "%s", found)
	case differs == plan.TimerPermission:
		return warning(name, boot, "backups are not signed for this operator; %s", found)
	case differs != "":
		return warning(name, boot, "the timer for backups is not what the configuration says (%s); %s", differs, found)
	default:
		return okay(name, "%s", found)
	}
}
