package oplog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLogWritesAtOnceAndMasks(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "logs")
	log, err := Open(dir, "config push", "hunter2")
	if err != nil {
		t.Fatal(err)
	}
	log.Info("login hunter2", "error", errors.New("hunter2 was refused"), "list", []string{"hunter2"}, "bytes", 7)
	log.With("machine", "hunter2").Debug("run", "script", strings.Repeat("x", 2*maxText)+"end")
	data, err := os.ReadFile(log.Path()) // without Close: the process can be killed
	if err != nil {
		t.Fatal(err)
	}
	if text := string(data); strings.Contains(text, "hunter2") || !strings.Contains(text, "bytes=7") || !strings.Contains(text, "end") ||
		!strings.Contains(text, "bytes omitted") || len(text) > maxText+2000 {
		t.Errorf("got %d bytes: %.400s", len(text), text)
	}
	info, err := os.Stat(log.Path())
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v, want mode 0600", info, err)
	}
	if err := log.Remove(); err != nil {
		t.Error(err)
	}
}

func TestOpenKeepsTheNewestLogs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for i := range keep + 5 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("20200101T0000%02d.000Z-upgrade-1.log", i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	other := filepath.Join(dir, "notes.txt")
	if err := os.WriteFile(other, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	later := filepath.Join(dir, "29990101T000000.000Z-upgrade-1.log") // of a clock that was set back
	if err := os.WriteFile(later, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := Open(dir, "upgrade")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	left, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil || len(left) != keep || left[len(left)-2] != log.Path() || left[len(left)-1] != later {
		t.Errorf("got %d logs %v, %v, want %d, the new one among them", len(left), left, err, keep)
	}
	if _, err := os.Stat(other); err != nil {
		t.Error(err)
	}
}

func TestLogsOfOneMomentAreApart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	paths := map[string]bool{}
	for range keep { // several in a millisecond
		log, err := Open(dir, "machine maintain")
		if err != nil {
			t.Fatal(err)
		}
		defer log.Close()
		paths[log.Path()] = true
	}
	if len(paths) != keep {
		t.Errorf("got %d files for %d logs", len(paths), keep)
	}
}
