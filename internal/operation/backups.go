package operation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pai.dev/pai/internal/backup"
	"pai.dev/pai/internal/cluster"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/session"
)

// ScheduledBackups are the backups that the control-plane machine makes without an
// operator.
type ScheduledBackups struct {
	To   string `json:"to"`
	When string `json:"when"`
	// Active is true if the timer of the machine runs.
	Active bool `json:"active"`
	backup.Status
}

// ReadScheduledBackups reads them from the first control-plane machine; nil if the
// configuration has none.
func ReadScheduledBackups(ctx context.Context, s *session.Session) (*ScheduledBackups, error) {
	if s.Config.Kubernetes.Backup == nil {
		return nil, nil
	}
	machine := s.Config.ControlPlane().Hostname
	host := s.Hosts[machine]
	if host == nil {
		return nil, pai.Errorf(pai.CodeFailed, "make it reachable, and run the command again", "control-plane machine %s, which makes the backups, is unreachable", machine)
	}
	there, err := cluster.ReadBackups(ctx, host)
	if err != nil {
		return nil, err
	}
	if there.StatusProblem != "" {
		return nil, errors.New(there.StatusProblem)
	}
	b := &ScheduledBackups{To: s.Config.Kubernetes.Backup.To, Active: there.Active, Status: there.Status}
	if there.Settings != nil {
		b.To, b.When = there.Settings.To, there.Settings.When()
	}
	return b, nil
}

// Line describes the backups in a line.
func (b ScheduledBackups) Line(now time.Time) string {
	if !b.Active {
		return fmt.Sprintf("backups to %s: the timer does not run; run: paictl cluster k8s-bootup", b.To)
	}
	return fmt.Sprintf("backups to %s, %s: %s", b.To, b.When, b.Describe(now))
}

// backupNotes say in the plan of an upgrade how old the newest backup is.
func backupNotes(ctx context.Context, s *session.Session) []string {
	b, err := ReadScheduledBackups(ctx, s)
	switch {
	case err != nil:
		return []string{fmt.Sprintf("the age of the newest backup is unknown: %v", err)}
	case b == nil || !b.Active: // a step starts the timer
		return nil
	default:
		return []string{b.Line(time.Now())}
	}
}
