package check

import (
	"testing"
	"time"

	"pai.dev/pai/internal/backup"
	"pai.dev/pai/internal/plan"
)

func TestScheduledBackups(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	status := func(success, failure time.Duration) backup.Status {
		s := backup.Status{Interval: 3600}
		if success > 0 {
			s.Success = &backup.Success{At: now.Add(-success)}
		}
		if failure > 0 {
			s.Failure = &backup.Failure{At: now.Add(-failure), Error: "the disk is full"}
		}
		return s
	}
	of := func(s backup.Status, active bool, differs string) Result {
		return scheduledBackupOf("pai-1", "backups go to /mnt/backups", s, active, differs, now)
	}
	expect(t, []expectation{
		{"fresh", of(status(time.Hour, 0), true, ""), OK, "the newest backup is 1h0m0s old; backups go to /mnt/backups"},
		{"from the future", of(backup.Status{Interval: 3600, Success: &backup.Success{At: now.Add(48 * time.Hour)}}, true, ""), Warning, "a time in the future"},
		{"fails", of(status(2*time.Hour, time.Hour), true, ""), Warning, "the last attempt failed 1h0m0s ago: the disk is full"},
		{"none yet", of(status(0, 0), true, ""), Warning, "no backup was made yet"},
		{"old", of(status(4*time.Hour, 0), true, ""), Warning, "4h0m0s old"},
		{"no timer", of(status(time.Hour, 0), false, plan.TimerMissing), Warning, "the timer for backups does not run"},
		{"other settings", of(status(time.Hour, 0), true, plan.TimerSettings), Warning, "not what the configuration says (settings)"},
		{"another operator", of(status(time.Hour, 0), true, plan.TimerPermission), Warning, "not signed for this operator"},
	})
}
