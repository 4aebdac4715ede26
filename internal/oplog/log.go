package oplog

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	// keep is how many log files a directory has at most.
	keep = 20
	// maxText bounds each text in a log, in bytes.
	maxText = 16 << 10
)

// Log is the log file of one operation. Every entry is written at once, so that
// the file is complete up to the moment at which the process is killed.
type Log struct {
	*slog.Logger
	file *os.File
}

// Open makes a log file in a directory, readable by its owner only, and deletes
// the oldest files so that keep remain. Secrets are values that never get into
// the file.
func Open(dir, name string, secrets ...string) (*Log, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make directory of logs: %w", err)
	}
	// Several operations of a process can start at the same time.
	file, err := os.CreateTemp(dir, fmt.Sprintf("%s-%s-*.log", time.Now().UTC().Format("20060102T150405.000Z"), strings.ReplaceAll(name, " ", "-")))
	if err != nil {
		return nil, fmt.Errorf("make log: %w", err)
	}
	if err := prune(dir, file.Name()); err != nil {
		return nil, fmt.Errorf("delete old logs: %w", err)
	}
	masker := NewMasker(secrets...)
	handler := slog.NewTextHandler(file, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		kind := a.Value.Kind()
		if (kind == slog.KindString || kind == slog.KindAny) && a.Key != slog.LevelKey && a.Key != slog.TimeKey {
			a.Value = slog.StringValue(bound(masker.Mask(a.Value.String())))
		}
		return a
	}})
	return &Log{Logger: slog.New(handler), file: file}, nil
}

// Path is the path of the file.
func (l *Log) Path() string { return l.file.Name() }

// Close closes the file.
func (l *Log) Close() error { return l.file.Close() }

// Remove closes and deletes the file.
func (l *Log) Remove() error {
	_ = l.Close() // it can be closed already
	return os.Remove(l.Path())
}

// bound shortens a text that is too long. It keeps both ends.
func bound(text string) string {
	if len(text) <= maxText {
		return text
	}
	return fmt.Sprintf("%s … (%d bytes omitted) … %s", text[:maxText/2], len(text)-maxText, text[len(text)-maxText/2:])
}

// prune deletes the oldest log files, but not the new one: their names start with their
// times, and the clock can have been set back.
func prune(dir, added string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil || len(files) <= keep {
		return err
	}
	files = slices.DeleteFunc(files, func(f string) bool { return f == added })
	slices.Sort(files)
	for _, f := range files[:len(files)-(keep-1)] {
		if err := os.Remove(f); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	return nil
}
