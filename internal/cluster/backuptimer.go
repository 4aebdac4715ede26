package cluster

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"pai.dev/pai/internal/backup"
	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/fingerprint"
	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/inspect/helper"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/release"
)

// onBackupMachine does a step on the machine that makes backups without an operator: the first
// control-plane machine of the layout, also while another one stands for all.
type onBackupMachine struct{ withDiff }

func (d onBackupMachine) Done(ctx context.Context, s plan.Step) (bool, error) {
	return d.withDiff.Done(ctx, d.on(s))
}

func (d onBackupMachine) Do(ctx context.Context, s plan.Step) error {
	return d.withDiff.Do(ctx, d.on(s))
}

func (d onBackupMachine) Diff(ctx context.Context, s plan.Step) ([]plan.StepDiff, error) {
	return d.withDiff.Diff(ctx, d.on(s))
}

func (d onBackupMachine) on(s plan.Step) plan.Step {
	s.Target = d.cluster.Config.ControlPlane().Hostname
	return s
}

// backupTimerFiles are the files of backups that the control-plane machine makes
// without an operator; none if the configuration has none.
func backupTimerFiles(cfg *config.Config) (map[string]preparedFile, error) {
	b := cfg.Kubernetes.Backup
	if b == nil {
		return map[string]preparedFile{}, nil
	}
	settings, err := json.MarshalIndent(backup.Scheduled{
		ClusterID: cfg.Services.Cluster.Common.ClusterID, Machine: cfg.ControlPlane().Hostname, To: b.To, Keep: b.Keep,
		S3: backupS3(b.S3), Recipients: b.Recipients, Every: int(b.Interval().Seconds()), Calendar: b.Calendar,
	}, "", "  ")
	if err != nil {
		return nil, err
	}
	return map[string]preparedFile{
		layout.ScheduledBackupFile:                 {string(settings) + "\n", 0o644},
		layout.UnitsDir + "/" + layout.BackupUnit:  {backupUnitFile(*b), 0o644},
		layout.UnitsDir + "/" + layout.BackupTimer: {backupTimerFile(*b), 0o644},
	}, nil
}

// backupS3 says how the machine reaches a bucket; nil with a directory. The key stays in its
// file on the machine, which PAI neither reads from here nor writes.
func backupS3(s *config.BackupS3) *backup.S3 {
	if s == nil {
		return nil
	}
	return &backup.S3{Endpoint: s.Endpoint, Region: s.Region, CredentialsFile: s.CredentialsFile, CAFile: s.CAFile}
}

// retryBackup is the pause after a backup that failed.
const retryBackup = 15 * time.Minute

// backupUnitFile makes one backup. It names the helper of this paictl, as the unit of
// certificates does. A scratch etcd runs in it. If the memory is exhausted, they end
// before any process of a job, and they get less of processors and disks than others.
// A core dump would have the data of etcd.
func backupUnitFile(b config.Backup) string {
	retry := retryBackup
	if every := b.Interval(); every > 0 {
		retry = min(retry, every)
	}
	return fmt.Sprintf(`# Written by PAI.
[Unit]
Description=PAI: backup of the control plane
Wants=network-online.target
After=network-online.target remote-fs.target %[1]s
StartLimitIntervalSec=0

[Service]
Type=oneshot
ExecStart=%[2]s backup
NoNewPrivileges=yes
PrivateTmp=yes
LimitCORE=0
Nice=10
CPUWeight=10
IOWeight=10
MemoryMax=25%%
OOMScoreAdjust=1000
TimeoutStopSec=30s
Restart=on-failure
RestartSec=%[3]ds
`, layout.PrepareUnit, layout.Helper(helper.Digest()), int(retry.Seconds()))
}

// backupTimerFile starts the unit. It also does so a minute after its own start, so that
// a new configuration shows at once whether it works, and a boot makes up for a backup
// that was missed.
func backupTimerFile(b config.Backup) string {
	when := "OnCalendar=" + b.Calendar
	if every := b.Interval(); every > 0 {
		when = fmt.Sprintf("OnUnitActiveSec=%ds", int(every.Seconds()))
	}
	return `# Written by PAI.
[Unit]
Description=PAI: timer for backups of the control plane

[Timer]
OnActiveSec=1min
` + when + `
AccuracySec=10s

[Install]
WantedBy=timers.target
`
}

// BackupTimerDiffers says how the backups that the control-plane machine makes without
// an operator differ from the configuration; see plan.MachineState.
func BackupTimerDiffers(cfg *config.Config, there *inspect.BackupState, operator ed25519.PublicKey) string {
	files, err := backupTimerFiles(cfg)
	switch {
	case there == nil && len(files) == 0:
		return "" // the next operation looks again
	case err != nil || there == nil:
		return plan.TimerUnknown
	case len(files) == 0 && len(there.Files) == 0:
		return ""
	case len(files) == 0:
		return plan.TimerUnneeded
	case len(there.Files) == 0 || !there.Active:
		return plan.TimerMissing
	case there.NeedsReload: // systemd starts backups as older files say
		return plan.TimerSettings
	}
	for path, f := range files {
		if there.Files[path] != fingerprint.Of([]byte(f.content)) {
			return plan.TimerSettings
		}
	}
	if !permitted(cfg, there, operator) {
		return plan.TimerPermission
	}
	return ""
}

// permitted reports whether the operator permitted the key of the machine.
func permitted(cfg *config.Config, there *inspect.BackupState, operator ed25519.PublicKey) bool {
	return there.PublicKey != "" && operator != nil && slices.ContainsFunc(there.Permissions, func(p backup.Permission) bool {
		return p.By([]ed25519.PublicKey{operator}, cfg.Services.Cluster.Common.ClusterID, there.PublicKey)
	})
}

// ReadBackups reads what a machine has for backups without an operator.
func ReadBackups(ctx context.Context, h machine.Host) (*inspect.BackupState, error) {
	report, err := helper.Parts(ctx, h, inspect.Backups)
	return report.Backups, err
}

func (c *cluster) operatorKey() (ed25519.PrivateKey, error) {
	if c.OperatorKey == nil {
		return nil, errors.New("no operator key")
	}
	return c.OperatorKey()
}

func (c *cluster) backupTimerDone(ctx context.Context, h machine.Host, _ config.Machine, _ plan.Step) (bool, error) {
	key, err := c.operatorKey()
	if err != nil {
		return false, err
	}
	there, err := ReadBackups(ctx, h)
	return err == nil && BackupTimerDiffers(c.Config, there, key.Public().(ed25519.PublicKey)) == "", err
}

func (c *cluster) backupTimer(ctx context.Context, h machine.Host, _ config.Machine, _ plan.Step) error {
	files, err := backupTimerFiles(c.Config)
	if err == nil && len(files) == 0 {
		err = removeBackupTimer(ctx, h)
	} else if err == nil {
		err = c.startBackupTimer(ctx, h, files)
	}
	if err != nil {
		return fmt.Errorf("set up the backups of %q: %w", h.Name(), err)
	}
	return nil
}

// removeBackupTimer removes timer, unit, and settings. The key and its permissions stay:
// the machine can be asked for backups again. The backups are not touched.
func removeBackupTimer(ctx context.Context, h machine.Host) error {
	_, err := sh(ctx, h, `
SYSTEMD_OFFLINE=1 systemctl disable -q %[1]s 2>/dev/null || :
systemctl stop %[1]s %[2]s 2>/dev/null || :
rm -f %[3]s %[4]s
systemctl daemon-reload
systemctl reset-failed %[2]s 2>/dev/null || :`, layout.BackupTimer, layout.BackupUnit, quoteAll(inspect.BackupFiles()), layout.BackupMetricsFile)
	return err
}

// startBackupTimer writes the files, permits the key of the machine, and starts the
// timer. An instance that waits for the lock of this operation is stopped.
func (c *cluster) startBackupTimer(ctx context.Context, h machine.Host, files map[string]preparedFile) error {
	if calendar := c.Config.Kubernetes.Backup.Calendar; calendar != "" {
		if _, err := sh(ctx, h, "systemd-analyze calendar -- %s >/dev/null", machine.Quote(calendar)); err != nil {
			return pai.Errorf(pai.CodeRefused, "correct kubernetes.backup.calendar", "systemd does not know the calendar event %q: %w", calendar, err)
		}
	}
	if err := c.permit(ctx, h); err != nil {
		return err
	}
	if err := writeFiles(ctx, h, files, slices.Sorted(maps.Keys(files))); err != nil {
		return err
	}
	_, err := sh(ctx, h, `
systemctl daemon-reload
SYSTEMD_OFFLINE=1 systemctl enable -q %[1]s
systemctl stop %[2]s 2>/dev/null || :
systemctl restart %[1]s`, layout.BackupTimer, layout.BackupUnit)
	return err
}

// permit lets the machine make its key, and adds the permission of the operator.
func (c *cluster) permit(ctx context.Context, h machine.Host) error {
	key, err := c.operatorKey()
	if err != nil {
		return err
	}
	report, err := helper.Inspect(ctx, h, inspect.Request{Parts: []inspect.Part{inspect.Backups}, MakeBackupKey: true}, inspect.Backups)
	if err != nil {
		return err
	}
	there := report.Backups
	if permitted(c.Config, there, key.Public().(ed25519.PublicKey)) {
		return nil
	}
	if _, err := release.DecodePublicKey(there.PublicKey); err != nil {
		return fmt.Errorf("the machine made no key: %w", err)
	}
	p := backup.Permit(c.Config.Services.Cluster.Common.ClusterID, there.PublicKey, time.Now(), key)
	data, err := backup.WritePermissions(backup.AddPermission(there.Permissions, p))
	if err != nil {
		return err
	}
	return h.WriteFile(ctx, layout.BackupPermissionsFile, data, 0o644)
}

// diffBackupTimer shows the files that change.
func (c *cluster) diffBackupTimer(ctx context.Context, h machine.Host, _ config.Machine, _ plan.Step) ([]plan.StepDiff, error) {
	files, err := backupTimerFiles(c.Config)
	if err != nil {
		return nil, err
	}
	if len(files) > 0 {
		return changedFiles(ctx, h, files)
	}
	there, err := ReadBackups(ctx, h)
	if err != nil {
		return nil, err
	}
	var changes []plan.StepDiff
	for _, file := range sortedKeys(there.Files) {
		changes = append(changes, plan.StepDiff{What: "file " + file, Action: plan.Deleted})
	}
	return changes, nil
}
