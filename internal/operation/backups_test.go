package operation

import (
	"context"
	"strings"
	"testing"
	"time"

	"pai.dev/pai/internal/backup"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/run"
	"pai.dev/pai/test/sessiontest"
)

// A backup that the machine makes refuses no operation, which waits for its end.
func TestScheduledBackupIsNoOperation(t *testing.T) {
	f := newFlow(t, "a")
	f.Hosts["gpu-01"].(*sessiontest.Host).Answer = func(ctx context.Context, c machine.Command) (machine.Output, error) {
		if strings.Contains(c.Script, "stat -c %Y") {
			return machine.Output{Stdout: "0\n"}, nil
		}
		return f.answer(ctx, c)
	}
	for verb, busy := range map[pai.Verb]bool{pai.VerbScheduledBackup: false, pai.VerbUpgrade: true} {
		holder, err := run.ThisProcess("v0.11", verb)
		if err != nil {
			t.Fatal(err)
		}
		lock, err := run.Acquire(t.Context(), f.files, holder, run.LockOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := currentOperation(t.Context(), f.Session); err != nil || (got.Holder != "") != busy {
			t.Errorf("%s: got %+v, %v, want an operation: %t", verb, got, err, busy)
		}
		if err := lock.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLineAboutScheduledBackups(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	made := backup.Status{Interval: 3600, Success: &backup.Success{At: now.Add(-time.Hour)}}
	for _, c := range []struct {
		backups ScheduledBackups
		want    string
	}{
		{ScheduledBackups{To: "/mnt/b", When: "every 1h0m0s", Active: true, Status: made}, "backups to /mnt/b, every 1h0m0s: the newest backup is 1h0m0s old"},
		{ScheduledBackups{To: "/mnt/b", When: "at daily", Active: true}, "backups to /mnt/b, at daily: no backup was made yet"},
		{ScheduledBackups{To: "/mnt/b", Status: made}, "backups to /mnt/b: the timer does not run; run: paictl cluster k8s-bootup"},
	} {
		if got := c.backups.Line(now); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}
