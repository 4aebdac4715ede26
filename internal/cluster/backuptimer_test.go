package cluster

import (
	"context"
	"crypto/ed25519"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pai.dev/pai/internal/backup"
	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/inspect/helper"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/release"
	"pai.dev/pai/test/inspecttest"
)

// backingUp is a cluster whose control-plane machine makes backups, and the machine.
func backingUp(t *testing.T, b *config.Backup) (*cluster, *inspecttest.Host) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	cfg := testConfig()
	cfg.Kubernetes.Backup = b
	h := inspecttest.NewHost(t, "pai-1")
	h.Script = func(_ context.Context, c machine.Command) (string, error) {
		switch {
		case strings.Contains(c.Script, "systemctl restart "+layout.BackupTimer):
			h.Units[layout.BackupTimer] = inspecttest.Unit{State: "active"}
		case strings.Contains(c.Script, "rm -f"):
			delete(h.Units, layout.BackupTimer)
			for _, f := range []string{layout.ScheduledBackupFile, layout.UnitsDir + "/" + layout.BackupUnit, layout.UnitsDir + "/" + layout.BackupTimer} {
				if !strings.Contains(c.Script, f) {
					t.Errorf("the script leaves %s", f)
				}
				_ = os.Remove(h.At(f))
			}
		}
		return "", nil
	}
	return &cluster{Deps: Deps{Config: cfg, Hosts: map[string]machine.Host{"pai-1": h}, Progress: func(string, ...any) {},
		OperatorKey: func() (ed25519.PrivateKey, error) { return key, nil }}}, h
}

func everyHour() *config.Backup {
	return &config.Backup{To: "/mnt/backups", Every: "1h", Keep: 14, Recipients: []string{"age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"}}
}

var timerStep = plan.Step{Kind: plan.KindBackupTimer}

// differs is what the planner sees.
func (c *cluster) differs(t *testing.T, h machine.Host) string {
	t.Helper()
	_, there, err := Observe(t.Context(), h)
	if err != nil {
		t.Fatal(err)
	}
	key, err := c.operatorKey()
	if err != nil {
		t.Fatal(err)
	}
	return BackupTimerDiffers(c.Config, there, key.Public().(ed25519.PublicKey))
}

func (c *cluster) setTimer(t *testing.T, h machine.Host) {
	t.Helper()
	if err := c.backupTimer(t.Context(), h, c.Config.ControlPlane(), timerStep); err != nil {
		t.Fatal(err)
	}
	if done, err := c.backupTimerDone(t.Context(), h, c.Config.ControlPlane(), timerStep); err != nil || !done {
		t.Errorf("got done %t, %v after the step", done, err)
	}
}

// The timer follows the configuration: it is made, changed, and removed, and the key of
// the machine is permitted once.
func TestBackupTimerFollowsTheConfiguration(t *testing.T) {
	t.Parallel()
	c, h := backingUp(t, nil)
	if got := c.differs(t, h); got != "" {
		t.Errorf("got %q on a machine without backups, want nothing to do", got)
	}
	c.Config.Kubernetes.Backup = everyHour()
	if got := c.differs(t, h); got != plan.TimerMissing {
		t.Errorf("got %q, want %q", got, plan.TimerMissing)
	}
	c.setTimer(t, h)
	there, err := ReadBackups(t.Context(), h)
	if err != nil {
		t.Fatal(err)
	}
	if there.Settings == nil || there.Settings.ClusterID != "test" || there.Settings.Machine != "pai-1" || there.Settings.Every != 3600 || there.Settings.Keep != 14 || len(there.Permissions) != 1 {
		t.Errorf("got %+v", there)
	}
	info, err := os.Stat(h.At(layout.BackupKeyFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got the key of the machine as %v, %v, want it readable by its owner only", info, err)
	}
	key := there.PublicKey

	h.Units[layout.BackupTimer] = inspecttest.Unit{State: "failed"}
	if got := c.differs(t, h); got != plan.TimerMissing {
		t.Errorf("got %q of a timer that does not run", got)
	}
	for _, unit := range []string{layout.BackupTimer, layout.BackupUnit} { // written by a step that was killed
		h.Units[layout.BackupTimer] = inspecttest.Unit{State: "active"}
		h.Units[unit] = inspecttest.Unit{State: "active", Reload: true}
		if got := c.differs(t, h); got != plan.TimerSettings {
			t.Errorf("got %q while systemd has an older file of %s", got, unit)
		}
		delete(h.Units, unit)
	}
	c.Config.Kubernetes.Backup.Keep = 3
	h.Units[layout.BackupTimer] = inspecttest.Unit{State: "active"}
	if got := c.differs(t, h); got != plan.TimerSettings {
		t.Errorf("got %q of other settings", got)
	}
	c.setTimer(t, h)
	if there, err = ReadBackups(t.Context(), h); err != nil || there.PublicKey != key || len(there.Permissions) != 1 {
		t.Errorf("got %+v, %v, want the same key with its permission", there, err)
	}

	c.Config.Kubernetes.Backup = nil
	if got := c.differs(t, h); got != plan.TimerUnneeded {
		t.Errorf("got %q without backups in the configuration", got)
	}
	c.setTimer(t, h)
	for _, f := range []string{layout.UnitsDir + "/" + layout.BackupTimer, layout.UnitsDir + "/" + layout.BackupUnit, layout.ScheduledBackupFile} {
		if _, err := os.Stat(h.At(f)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is left: %v", f, err)
		}
	}
}

// A second operator permits the key as well, so that both can restore, and so does the
// first one after the machine got another key.
func TestEachOperatorPermitsTheMachine(t *testing.T) {
	t.Parallel()
	ann, h := backingUp(t, everyHour())
	ann.setTimer(t, h)
	bob, _ := backingUp(t, everyHour())
	if got := bob.differs(t, h); got != plan.TimerPermission {
		t.Errorf("got %q for a second operator, want %q", got, plan.TimerPermission)
	}
	bob.setTimer(t, h)
	if got := ann.differs(t, h); got != "" {
		t.Errorf("got %q for the first operator, want nothing to do", got)
	}
	if err := os.Remove(h.At(layout.BackupKeyFile)); err != nil {
		t.Fatal(err)
	}
	if got := ann.differs(t, h); got != plan.TimerPermission {
		t.Errorf("got %q for a machine without its key, want %q", got, plan.TimerPermission)
	}
	ann.setTimer(t, h)
	there, err := ReadBackups(t.Context(), h)
	if err != nil || len(there.Permissions) != 1 || there.Permissions[0].PublicKey != there.PublicKey {
		t.Errorf("got %+v, %v, want one permission, of the present key", there, err)
	}
}

// Nothing is written that systemd does not understand.
func TestWrongCalendarIsRefused(t *testing.T) {
	t.Parallel()
	b := everyHour()
	b.Every, b.Calendar = "", "Mon..Fri 02:30"
	c, h := backingUp(t, b)
	h.Script = func(_ context.Context, command machine.Command) (string, error) {
		if strings.Contains(command.Script, "systemd-analyze calendar -- 'Mon..Fri 02:30'") {
			return "", errors.New("Failed to parse calendar specification")
		}
		return "", nil
	}
	if err := c.backupTimer(t.Context(), h, c.Config.ControlPlane(), timerStep); err == nil || !strings.Contains(err.Error(), "calendar") {
		t.Errorf("got %v, want a refusal", err)
	}
	if _, err := os.Stat(h.At(layout.UnitsDir + "/" + layout.BackupTimer)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the timer is written: %v", err)
	}
}

func TestBackupUnits(t *testing.T) {
	t.Parallel()
	b := *everyHour()
	checkRendered(t, "backup-timer", backupTimerFile(b))
	unit := backupUnitFile(b)
	checkRendered(t, "backup-unit", strings.ReplaceAll(unit, layout.Helper(helper.Digest()), layout.HelperDir+"/DIGEST/pai-machine"))
	for every, want := range map[string]string{"1m": "RestartSec=60s", "1h": "RestartSec=900s"} {
		b.Every = every
		if !strings.Contains(backupUnitFile(b), want+"\n") {
			t.Errorf("every %s: got %s, want %s", every, backupUnitFile(b), want)
		}
	}
	b.Every, b.Calendar = "", "daily"
	if text := backupTimerFile(b); !strings.Contains(text, "OnCalendar=daily\n") || strings.Contains(text, "OnUnitActiveSec") {
		t.Errorf("got %s, want the calendar", text)
	}
}

// What an operator restores with is not what the machine has: its key permits nothing.
func TestMachineDoesNotPermitItself(t *testing.T) {
	t.Parallel()
	c, h := backingUp(t, everyHour())
	c.setTimer(t, h)
	own, err := release.LoadKey(h.At(layout.BackupKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	there, err := ReadBackups(t.Context(), h)
	if err != nil {
		t.Fatal(err)
	}
	forged := backup.Permit("test", there.PublicKey, time.Now(), own)
	key, err := c.operatorKey()
	if err != nil {
		t.Fatal(err)
	}
	if forged.By([]ed25519.PublicKey{key.Public().(ed25519.PublicKey)}, "test", there.PublicKey) {
		t.Error("a machine permitted itself")
	}
	if slices.Contains(h.Scripts, there.PublicKey) {
		t.Error("the key is in a script")
	}
}
