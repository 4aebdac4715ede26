package scheduledbackup

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"filippo.io/age"

	"pai.dev/pai/internal/backup"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/run"
)

// A machine makes the same backup as an operator: it can be verified, decrypted, and
// restored by who trusts the operator key alone.
func TestMachineMakesABackup(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if err := Run(t.Context(), w.Machine); err != nil {
		t.Fatal(err)
	}
	found := w.made()
	if len(found) != 1 || !found[0].Usable() || !found[0].ByMachine {
		t.Fatalf("got %+v, want one backup that the operator trusts", found)
	}
	m := found[0].Manifest
	if m.ClusterID != "lab" || m.Machine != "pai-1" || m.Kubernetes != "v0.11-pai" || m.Services != "v0.11" || m.Etcd.Revision != 7 || m.Etcd.Secrets != 1 ||
		len(m.Bundles) != 1 || m.Bundles[0] != (backup.Bundle{Release: "v0.11", Digest: "sha256:b"}) {
		t.Errorf("got manifest %+v", m)
	}
	target, err := backup.OpenTarget(w.at(w.to))
	if err != nil {
		t.Fatal(err)
	}
	if err := backup.Verify(t.Context(), target, m, []age.Identity{w.identity}); err != nil {
		t.Error(err)
	}
	if len(w.scripts) != 1 || !strings.Contains(w.scripts[0], layout.Program("v0.11-pai", "etcdctl")) {
		t.Errorf("got the scripts %q, want the one of the running etcd", w.scripts)
	}
	s := w.status()
	if s.Success == nil || s.Success.Name != m.Name || s.Success.Size != m.Content.Size || s.Failed() || s.Interval != 3600 {
		t.Errorf("got status %+v", s)
	}
	for _, want := range []string{"pai_backup_last_success_timestamp_seconds 1795168800\n", "pai_backup_size_bytes ", "pai_backup_interval_seconds 3600\n"} {
		if !strings.Contains(w.file(layout.BackupMetricsFile), want) {
			t.Errorf("the metrics lack %q:\n%s", want, w.file(layout.BackupMetricsFile))
		}
	}
	if _, holder, err := run.Current(t.Context(), run.Local(w.Root)); err != nil || holder != nil {
		t.Errorf("got the lock held by %v, %v, want it free", holder, err)
	}
}

// What cannot be a good backup fails, is recorded, and leaves the earlier ones.
func TestFailureIsRecorded(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(w *world)
		want   string
	}{
		{"the key does not decrypt the Secrets", func(w *world) { w.secretKey = 8 }, "no key that decrypts"},
		{"the directory does not exist", func(w *world) { os.RemoveAll(w.at(w.to)) }, "does not exist"},
		{"the share is not mounted", func(w *world) {
			w.put("/etc/fstab", "# a comment\nnas:/backups /mnt/backups nfs defaults 0 0\n")
			w.put("/proc/self/mountinfo", "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n")
		}, "is not mounted at /mnt/backups"},
		{"a share above is not mounted", func(w *world) {
			w.put("/etc/fstab", "nas:/ /mnt nfs defaults 0 0\n/dev/sda1 / ext4 defaults 0 1\nUUID=1 none none defaults 0 0\n")
		}, "is not mounted at /mnt"},
		{"fstab ends the path with a slash", func(w *world) { w.put("/etc/fstab", "nas:/ /mnt/backups/ nfs defaults 0 0\n") }, "is not mounted at /mnt/backups"},
		{"a mount unit is not active", func(w *world) {
			w.put(layout.UnitsDir+"/mnt-backups.mount", "[Mount]\nWhat=nas:/\nWhere=/mnt/backups\n")
		}, "is not mounted at /mnt/backups"},
		{"a link leads to a share that is not mounted", func(w *world) {
			w.put("/etc/fstab", "nas:/ /srv/nas nfs defaults 0 0\n")
			w.put("/srv/nas/x", "")
			if err := errors.Join(os.Rename(w.at("/mnt"), w.at("/mnt.before")), os.Symlink("srv/nas", w.at("/mnt")), os.Rename(w.at("/mnt.before/backups"), w.at("/srv/nas/backups"))); err != nil {
				w.t.Fatal(err)
			}
		}, "is not mounted at /srv/nas"},
		{"the disk of etcd would be full", func(w *world) {
			if err := os.Truncate(w.at(layout.SlotA.EtcdDatabase()), 8<<40); err != nil {
				w.t.Fatal(err)
			}
		}, "MiB free"},
		{"the size of etcd is unknown", func(w *world) { os.Remove(w.at(layout.SlotA.EtcdDatabase())) }, "no such file"},
		{"no operator permitted the key", func(w *world) { w.put(layout.BackupPermissionsFile, "[]") }, "no operator permitted"},
		{"the machine belongs to another cluster", func(w *world) {
			w.put(layout.ClusterRecordFile, `{"clusterId":"prod","kubernetes":"v0.11-pai"}`)
		}, `belongs to cluster "prod"`},
		{"etcd is not healthy", func(w *world) {
			w.Run = func(context.Context, string, ...string) (string, error) { return "", errors.New("connection refused") }
		}, "etcd is not healthy"},
		{"no etcd", func(w *world) { os.Remove(w.at(layout.RoleLink(layout.RoleEtcdA))) }, "no etcd"},
		{"unknown settings", func(w *world) { w.put(layout.ScheduledBackupFile, `{"bucket":"x"}`) }, "settings of scheduled backups"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if err := Run(t.Context(), w.Machine); err != nil {
				t.Fatal(err)
			}
			before := w.status().Success
			w.clock = time.Hour
			c.change(w)
			err := Run(t.Context(), w.Machine)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			s := w.status()
			if !s.Failed() || !strings.Contains(s.Failure.Error, c.want) || s.Success == nil || *s.Success != *before {
				t.Errorf("got status %+v, want the failure beside the earlier success", s)
			}
			if !strings.Contains(w.file(layout.BackupMetricsFile), "pai_backup_last_failure_timestamp_seconds 1795172400\n") {
				t.Errorf("got metrics %s", w.file(layout.BackupMetricsFile))
			}
			if c.name == "the directory does not exist" {
				return
			}
			if found := w.made(); len(found) != 1 || !found[0].Usable() {
				t.Errorf("got %+v, want the earlier backup alone", found)
			}
		})
	}
}

// No backup is made within an operation, nor of a cluster between two versions.
func TestBackupWaitsForAQuietCluster(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name        string
		busy, quiet func(w *world)
		reason      string
	}{
		{"between two versions", func(w *world) { w.link(layout.RoleScheduler, "v0.12-pai") },
			func(w *world) { os.Remove(w.at(layout.RoleLink(layout.RoleScheduler))) }, "between v0.11-pai and v0.12-pai"},
		{"etcd is handed over", func(w *world) { w.link(layout.RoleEtcdB, "v0.11-pai") },
			func(w *world) { os.Remove(w.at(layout.RoleLink(layout.RoleEtcdB))) }, "handed over"},
		{"not booted", func(w *world) { os.Remove(w.at(layout.ClusterRecordFile)) },
			func(w *world) {
				w.put(layout.ClusterRecordFile, `{"clusterId":"lab","kubernetes":"v0.11-pai","services":"v0.11"}`)
			}, "not booted"},
		{"a command of an operation that lost the lock", func(w *world) { w.lost("ABCDEFGHIJKLMNOPQRSTUVWXYZ") },
			func(w *world) { os.RemoveAll(w.at("/proc/7")) }, "process 7 is a command"},
		{"a restore", func(w *world) { w.put(layout.RecoveryFile, `{"backup":"lab-1","stage":"reconciled"}`) },
			func(w *world) { w.put(layout.RecoveryFile, `{"backup":"lab-1","stage":"done"}`) }, "restore from backup lab-1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				c.busy(w)
				ended := make(chan error, 1)
				go func() { ended <- Run(t.Context(), w.Machine) }()
				time.Sleep(10*time.Minute + 10*time.Second)
				synctest.Wait()
				if len(w.made()) > 0 || w.status().Failed() || !strings.Contains(w.log.String(), c.reason) {
					t.Errorf("got %v, %+v, want a wait because of %q; log:\n%s", w.made(), w.status(), c.reason, w.log.String())
				}
				if n := strings.Count(w.log.String(), c.reason); n != 1 {
					t.Errorf("the reason is logged %d times", n)
				}
				if _, holder, err := run.Current(t.Context(), run.Local(w.Root)); err != nil || holder != nil {
					t.Errorf("the lock is held during the wait: %v, %v", holder, err)
				}
				c.quiet(w)
				if err := <-ended; err != nil || len(w.made()) != 1 {
					t.Errorf("got %v and %+v afterwards, want a backup", err, w.made())
				}
			})
		})
	}
}

// A backup that could not be made for half a day is a failure.
func TestBackupDoesNotWaitForever(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		start := time.Now()
		w.Now = func() time.Time { return began.Add(time.Since(start)) }
		w.link(layout.RoleScheduler, "v0.12-pai")
		err := Run(t.Context(), w.Machine)
		if took := time.Since(start); err == nil || took < busyLimit || took > busyLimit+time.Hour || !w.status().Failed() {
			t.Errorf("got %v after %s, want a failure after %s", err, took, busyLimit)
		}
	})
}

// The lock of an operation keeps the machine from a backup, and the other way round.
func TestBackupHoldsTheLock(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	operator, err := run.ThisProcess("v0.11", pai.VerbUpgrade)
	if err != nil {
		t.Fatal(err)
	}
	lock, err := run.Acquire(t.Context(), run.Local(w.Root), operator, run.LockOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.locked(t.Context(), w.settings); !errors.Is(err, errBusy) || len(w.scripts) > 0 {
		t.Errorf("got %v and the scripts %q, want a refusal", err, w.scripts)
	}
	if err := lock.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.during = func() {
		_, holder, err := run.Current(context.Background(), run.Local(w.Root))
		if err != nil || holder == nil || holder.Verb != pai.VerbScheduledBackup || holder.Version != "v0.11" {
			t.Errorf("got the lock held by %v, %v, want it held by the backup", holder, err)
		}
	}
	if _, err := w.locked(t.Context(), w.settings); err != nil || len(w.scripts) != 1 {
		t.Errorf("got %v, want a backup", err)
	}
}

// Backups that were switched off are not made, and leave no metrics that get older.
func TestNothingIsMadeWithoutSettings(t *testing.T) {
	t.Parallel()
	for name, file := range map[string]string{"the settings": layout.ScheduledBackupFile, "the unit": layout.UnitsDir + "/" + layout.BackupUnit} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.put(layout.BackupMetricsFile, "old")
			if err := os.Remove(w.at(file)); err != nil {
				t.Fatal(err)
			}
			if err := Run(t.Context(), w.Machine); err != nil || len(w.made()) > 0 || w.file(layout.BackupMetricsFile) != "" {
				t.Errorf("got %v, %+v, and the metrics %q, want nothing", err, w.made(), w.file(layout.BackupMetricsFile))
			}
		})
	}
}

// The machine deletes its own older backups, and none of the operator.
func TestRetentionOfTheMachine(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	target, err := backup.OpenTarget(w.at(w.to))
	if err != nil {
		t.Fatal(err)
	}
	m := backup.Manifest{Name: backup.NameOf("lab", began.Add(-time.Hour)), ClusterID: "lab", Taken: began, Kubernetes: "v0.11-pai", Bundles: []backup.Bundle{}}
	if _, err := backup.Write(t.Context(), target, m, backup.Options{Recipients: w.settings.Recipients, Key: w.operator},
		func(w *backup.Writer, _ *backup.Manifest) error {
			return w.Add(backup.JobsFile, 2, strings.NewReader("{}"))
		}); err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		w.clock = time.Duration(i) * time.Hour
		if err := Run(t.Context(), w.Machine); err != nil {
			t.Fatal(err)
		}
	}
	own, operators := 0, 0
	for _, f := range w.made() {
		if f.ByMachine {
			own++
		} else if f.Usable() {
			operators++
		}
	}
	if own != 2 || operators != 1 {
		t.Errorf("got %d of the machine and %d of the operator, want 2 and 1", own, operators)
	}
}

// A network share that hangs keeps no operator from the lock.
func TestHangingDirectoryIsLeft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, errors.New("too late"))
		defer cancel()
		hangs := make(chan struct{})
		defer close(hangs)
		began := time.Now()
		_, err := within(ctx, func() (int, error) { <-hangs; return 0, nil })
		if took := time.Since(began); err == nil || !strings.Contains(err.Error(), "too late") || took > 2*time.Minute {
			t.Errorf("got %v after %s, want an error soon after the limit", err, took)
		}
		if n, err := within(t.Context(), func() (int, error) { return 3, nil }); n != 3 || err != nil {
			t.Errorf("got %d, %v, want the result", n, err)
		}
	})
}

func TestIntervalOfACalendar(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.settings.Every, w.settings.Calendar = 0, "weekly"
	if got := w.interval(t.Context(), w.settings); got != 7*24*3600 {
		t.Errorf("got %d, want a week", got)
	}
	const friday = "Next elapse: Thu 2026-11-26 02:30:00 UTC\n(in UTC): x\nIteration #2: Fri 2026-11-27 02:30:00 UTC\nIter. #3: Mon 2026-11-30 02:30:00 UTC\n"
	if got := longestGap(friday); got != 72*time.Hour {
		t.Errorf("got %s, want the weekend", got)
	}
	w.Run = func(context.Context, string, ...string) (string, error) { return "", errors.New("not found") }
	if got := w.interval(t.Context(), w.settings); got != 24*3600 {
		t.Errorf("got %d without systemd-analyze, want a day", got)
	}
}

// A backup that is stopped says nothing about backups.
func TestStoppedBackupIsNoFailure(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	w.during = cancel
	if err := Run(ctx, w.Machine); !errors.Is(err, context.Canceled) || w.status().Failure != nil {
		t.Errorf("got %v and %+v, want no record", err, w.status())
	}
	for _, f := range w.made() {
		if f.Usable() {
			t.Errorf("got the backup %+v of a stopped run", f)
		}
	}
	if _, holder, err := run.Current(t.Context(), run.Local(w.Root)); err != nil || holder != nil {
		t.Errorf("got the lock held by %v, %v, want it free", holder, err)
	}
}

// After a rollback, the machine backs up the older Kubernetes with its programs.
func TestBackupAfterARollback(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, r := range []layout.Role{layout.RoleEtcdA, layout.RoleAPIServerA} {
		if err := os.Remove(w.at(layout.RoleLink(r))); err != nil {
			t.Fatal(err)
		}
		w.link(r, "v0.10-pai")
	}
	w.put(layout.ClusterRecordFile, `{"clusterId":"lab","kubernetes":"v0.10-pai","services":"v0.10"}`)
	if err := Run(t.Context(), w.Machine); err != nil {
		t.Fatal(err)
	}
	found := w.made()
	if len(found) != 1 || found[0].Kubernetes != "v0.10-pai" || found[0].Services != "v0.10" || len(found[0].Bundles) != 1 || found[0].Bundles[0].Release != "v0.10" {
		t.Errorf("got %+v, want a backup of v0.10", found)
	}
	if !strings.Contains(w.scripts[0], layout.Program("v0.10-pai", "etcdutl")) {
		t.Errorf("got the script %q, want the programs of v0.10", w.scripts[0])
	}
}

// A success ends the failure that was recorded, whatever the clock said then.
func TestSuccessEndsAFailure(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.clock = 48 * time.Hour // a wrong clock
	w.secretKey = 8
	if err := Run(t.Context(), w.Machine); err == nil || !w.status().Failed() {
		t.Fatalf("got %v, %+v, want a failure", err, w.status())
	}
	w.clock, w.secretKey = 0, 7
	if err := Run(t.Context(), w.Machine); err != nil || w.status().Failed() || strings.Contains(w.file(layout.BackupMetricsFile), "last_failure") {
		t.Errorf("got %v, %+v, want no failure", err, w.status())
	}
}

// What a killed run left takes no space from a later one, which also fails.
func TestInterruptedRunIsRemoved(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	left := w.to + "/" + backup.NameOf("lab", began.Add(-48*time.Hour)) + "/.pai-tmp.content.age.1"
	w.put(left, "half")
	w.secretKey = 8
	if err := Run(t.Context(), w.Machine); err == nil {
		t.Error("got no error, want a failure")
	}
	if entries, err := os.ReadDir(w.at(w.to)); err != nil || len(entries) > 0 {
		t.Errorf("got %v, %v left, want nothing", entries, err)
	}
}
