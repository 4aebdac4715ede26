package inspect_test

import (
	"os"
	"testing"

	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/test/inspecttest"
)

func TestBackupsOfAMachine(t *testing.T) {
	t.Parallel()
	r := inspecttest.NewRoot(t)
	got := ask(t, r, inspect.Backups)
	if b := got.Backups; b == nil || len(b.Files) > 0 || b.Active || b.PublicKey != "" || b.Settings != nil || len(got.Problems) > 0 {
		t.Errorf("got %+v, %v of an empty machine", got.Backups, got.Problems)
	}
	if _, err := os.Stat(r.At(layout.BackupKeyFile)); err == nil {
		t.Error("a question made a key")
	}

	timer := layout.UnitsDir + "/" + layout.BackupTimer
	r.Write(layout.ScheduledBackupFile, `{"clusterId":"lab","to":"/mnt/backups"}`)
	r.Write(timer, "timer")
	r.Units[layout.BackupTimer] = inspecttest.Unit{State: "active"}
	r.Write(layout.BackupStatusFile, `{"interval":60,"failure":{"at":"2026-11-20T10:00:00Z","error":"full"}}`)
	report := r.Machine().Inspect(t.Context(), inspect.Request{Parts: []inspect.Part{inspect.Backups}, MakeBackupKey: true}, "self")
	b := report.Backups
	if b == nil || b.Files[timer] != of("timer") || !b.Active || b.Settings == nil || b.Settings.To != "/mnt/backups" || !b.Status.Failed() || b.PublicKey == "" {
		t.Fatalf("got %+v, %v", b, report.Problems)
	}
	if again := ask(t, r, inspect.Backups).Backups; again == nil || again.PublicKey != b.PublicKey {
		t.Errorf("got %+v, want the same key", again)
	}

	r.Write(layout.BackupPermissionsFile, "damaged")
	r.Write(layout.BackupStatusFile, "damaged")
	got = ask(t, r, inspect.Backups)
	if b := got.Backups; b == nil || len(b.Permissions) > 0 || b.StatusProblem == "" || b.PublicKey == "" || len(got.Problems) == 0 {
		t.Errorf("got %+v, %v of damaged files, want what the next operation and the next backup write again", b, got.Problems)
	}
}

// The helper that the unit of backups starts is not removed with the older ones, and
// neither are the files of backups foreign, nor is their unit a role.
func TestBackupsBelongToPAI(t *testing.T) {
	t.Parallel()
	r := inspecttest.NewRoot(t)
	for _, f := range []string{layout.ScheduledBackupFile, layout.BackupKeyFile, layout.BackupPublicKeyFile, layout.BackupPermissionsFile, layout.BackupStatusFile} {
		r.Write(f, "{}")
	}
	r.Write(layout.UnitsDir+"/"+layout.BackupUnit, "# Written by PAI.\n")
	got := ask(t, r, inspect.Foreign, inspect.Roles)
	if len(got.Foreign) > 0 || len(got.Roles) > 0 {
		t.Errorf("got foreign %v and roles %v, want none", got.Foreign, got.Roles)
	}
}
