package inspect

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"pai.dev/pai/internal/backup"
	"pai.dev/pai/internal/fingerprint"
	"pai.dev/pai/internal/layout"
	keys "pai.dev/pai/internal/release"
)

// BackupState is what a machine has for backups that it makes without an operator.
type BackupState struct {
	// Files has the sha256 of the settings and of the units, by path; without those
	// that do not exist.
	Files map[string]string `json:"files,omitempty"`
	// Active: the timer runs.
	Active bool `json:"active"`
	// NeedsReload: a file of the units changed after systemd read it.
	NeedsReload bool `json:"needsReload,omitempty"`
	// PublicKey is that of the key that signs backups; empty if there is none.
	PublicKey string `json:"publicKey,omitempty"`
	// Permissions are those of operators for that key.
	Permissions []backup.Permission `json:"permissions,omitempty"`
	// Settings are nil if there are none.
	Settings *backup.Scheduled `json:"settings,omitempty"`
	Status   backup.Status     `json:"status"`
	// StatusProblem is why Status is unknown; empty if it is known.
	StatusProblem string `json:"statusProblem,omitempty"`
}

// BackupFiles are the files of BackupState.Files.
func BackupFiles() []string {
	return []string{layout.ScheduledBackupFile, layout.UnitsDir + "/" + layout.BackupUnit, layout.UnitsDir + "/" + layout.BackupTimer}
}

// backups reports the backups that the machine makes without an operator.
func (i *inspection) backups(ctx context.Context) error {
	if i.request.MakeBackupKey {
		if _, err := keys.EnsureKey(i.at(layout.BackupKeyFile)); err != nil {
			return err
		}
	}
	b := BackupState{Files: map[string]string{}}
	for _, path := range BackupFiles() {
		data, err := i.read(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		b.Files[path] = fingerprint.Of(data)
		if path == layout.ScheduledBackupFile {
			settings, err := backup.ReadScheduled(data)
			i.problem(err, string(Backups), path)
			if err == nil {
				b.Settings = &settings
			}
		}
	}
	if len(b.Files) > 0 {
		units, err := i.units(ctx, layout.BackupTimer, layout.BackupUnit)
		if err != nil {
			return err
		}
		b.Active = units[layout.BackupTimer].active()
		b.NeedsReload = units[layout.BackupTimer].needsReload || units[layout.BackupUnit].needsReload
	}
	key, err := keys.LoadKey(i.at(layout.BackupKeyFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	default:
		b.PublicKey = keys.EncodePublicKey(key.Public().(ed25519.PublicKey))
	}
	if err := i.readIfExists(layout.BackupPermissionsFile, &b.Permissions); err != nil {
		i.problem(err, string(Backups), layout.BackupPermissionsFile)
		b.Permissions = nil // the next operation writes them again
	}
	if err := i.readIfExists(layout.BackupStatusFile, &b.Status); err != nil {
		b.Status, b.StatusProblem = backup.Status{}, err.Error() // the next backup writes it again
	}
	i.report.Backups = &b
	return nil
}

// readIfExists reads a file of JSON, if it exists.
func (i *inspection) readIfExists(path string, into any) error {
	data, err := i.read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(data, into)
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}
