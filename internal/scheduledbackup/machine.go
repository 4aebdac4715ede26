package scheduledbackup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"time"

	"pai.dev/pai/internal/atomicfile"
	"pai.dev/pai/internal/backup"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/run"
)

// Machine is the control-plane machine.
type Machine struct {
	// Root is its root directory: "/", or a made-up one.
	Root string
	// Version is the newest release that this program knows.
	Version string
	Now     func() time.Time
	Log     *slog.Logger
	// Run runs a program of the machine and returns its standard output.
	Run func(ctx context.Context, name string, args ...string) (string, error)
	// Script runs a shell script that prints to stdout.
	Script func(ctx context.Context, script string, stdout io.Writer) error
	// Lock are the options of the lock; its zero value has every default.
	Lock run.LockOptions
}

func (m Machine) at(name string) string { return filepath.Join(m.Root, name) }

func (m Machine) read(name string) ([]byte, error) { return os.ReadFile(m.at(name)) }

func (m Machine) write(name string, data []byte, mode fs.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(m.at(name)), 0o755); err != nil {
		return err
	}
	return atomicfile.Write(m.at(name), data, mode)
}

func (m Machine) exists(name string) (bool, error) {
	_, err := os.Lstat(m.at(name))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// settings are those of the machine; nil if it makes no backups. A paictl of an older
// release removes the unit of this program, and leaves the settings.
func (m Machine) settings() (*backup.Scheduled, error) {
	if found, err := m.exists(layout.UnitsDir + "/" + layout.BackupUnit); err != nil || !found {
		return nil, err
	}
	data, err := m.read(layout.ScheduledBackupFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the settings of scheduled backups: %w", err)
	}
	s, err := backup.ReadScheduled(data)
	if err != nil {
		return nil, err
	}
	return &s, nil
}

// status is the recorded result; a damaged record is as none.
func (m Machine) status() backup.Status {
	var s backup.Status
	data, err := m.read(layout.BackupStatusFile)
	if err == nil {
		err = json.Unmarshal(data, &s)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		m.Log.Warn("the record of the last backup could not be read", "error", err.Error())
		return backup.Status{}
	}
	return s
}

// record writes the result where paictl and node-exporter read it.
func (m Machine) record(s backup.Status) error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err == nil {
		err = m.write(layout.BackupStatusFile, append(data, '\n'), 0o644)
	}
	return errors.Join(err, m.write(layout.BackupMetricsFile, []byte(metricsText(s)), 0o644))
}

// removeMetrics removes the metrics, which would only get older.
func (m Machine) removeMetrics() {
	_ = os.Remove(m.at(layout.BackupMetricsFile)) // a reboot removes it, too
}

// recorded is the content of layout.ClusterRecordFile.
type recorded struct {
	ClusterID  string `json:"clusterId"`
	Kubernetes string `json:"kubernetes"`
	Services   string `json:"services"`
}

// readJSON reads a file of the machine; found is false if it does not exist.
func (m Machine) readJSON(name string, into any) (found bool, err error) {
	data, err := m.read(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err == nil {
		err = json.Unmarshal(data, into)
	}
	if err != nil {
		return false, fmt.Errorf("read %s: %w", name, err)
	}
	return true, nil
}

// link is the directory name that the link of a role points to; empty if there is none.
func (m Machine) link(r layout.Role) (string, error) {
	target, err := os.Readlink(m.at(layout.RoleLink(r)))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return path.Base(target), err
}
