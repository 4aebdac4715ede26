package backup_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pai.dev/pai/internal/backup"
)

// A backup that was made while the clock was wrong must not replace those that are made
// afterwards: the retention would delete each of them at once.
func TestPruneLeavesWhatIsFromTheFuture(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	future := w.mustWrite(t, manifestAt(taken.Add(24*365*time.Hour)))
	var made []string
	for i := range 3 {
		now := taken.Add(time.Duration(i) * time.Hour)
		made = append(made, w.mustWrite(t, manifestAt(now)).Name)
		if _, err := backup.Prune(t.Context(), w.target, "lab", 1, w.trusted[0], now); err != nil {
			t.Fatal(err)
		}
	}
	if left := w.entries(t); strings.Join(left, " ") != made[2]+" "+future.Name {
		t.Errorf("got %v, want the newest one, %s, and the one from the future, %s", left, made[2], future.Name)
	}
}

// What a killed process left of a backup is found, and removed after a day, with its
// directory. Only the complete files of PAI's names were looked at before.
func TestInterruptedBackupIsRemoved(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	whole := w.mustWrite(t, manifestAt(taken))
	name := backup.NameOf("lab", taken.Add(time.Minute))
	if err := os.Mkdir(filepath.Join(w.dir, name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(w.dir, name, ".pai-tmp.content.age.123"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	all, err := backup.List(t.Context(), w.target, w.trusted)
	if err != nil || len(all) != 2 || !all[1].Incomplete || all[1].Name != name {
		t.Errorf("got %+v, %v, want the incomplete one, too", all, err)
	}
	for _, c := range []struct {
		after time.Duration
		left  string
	}{{23 * time.Hour, whole.Name + " " + name}, {25 * time.Hour, whole.Name}} {
		deleted, err := backup.PruneIncomplete(t.Context(), w.target, "lab", taken.Add(c.after))
		if left := strings.Join(w.entries(t), " "); err != nil || left != c.left {
			t.Errorf("after %s: got %q, deleted %v, %v; want %q", c.after, left, deleted, err, c.left)
		}
	}
	if _, err := backup.PruneIncomplete(t.Context(), w.target, "lab", taken.Add(10000*time.Hour)); err != nil || len(w.entries(t)) != 1 {
		t.Errorf("got %v, %v, want the complete one to stay", w.entries(t), err)
	}
}

// full is a target that is full when a file is written.
type full struct {
	backup.Target
	file string
}

var errFull = errors.New("no space left on device")

func (f full) Put(ctx context.Context, key string, write func(io.Writer) error) error {
	if strings.HasSuffix(key, f.file) {
		return errFull
	}
	return f.Target.Put(ctx, key, write)
}

// A backup that fails leaves nothing, whichever file it cannot write: a machine that
// tries again every few minutes would fill the directory, and never delete.
func TestFailedBackupLeavesNoFile(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"content.age", "signature.json", "manifest.json"} {
		w := newWorld(t)
		directory := w.target
		w.target = full{directory, file}
		if _, err := w.write(t.Context(), manifestAt(taken), contentOf()); !errors.Is(err, errFull) {
			t.Errorf("%s: got %v, want %v", file, err, errFull)
		}
		if left := w.entries(t); len(left) > 0 {
			t.Errorf("%s: got %v left, want nothing", file, left)
		}
	}
}

// entries are the names in the directory of the backups.
func (w world) entries(t *testing.T) []string {
	t.Helper()
	found, err := os.ReadDir(w.dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range found {
		names = append(names, e.Name())
	}
	return names
}
