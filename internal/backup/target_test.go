package backup_test

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"pai.dev/pai/internal/backup"
	"pai.dev/pai/internal/pai"
)

func TestTargets(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "s3://bucket/prefix", "ftp://x"} {
		if _, err := backup.OpenTarget(name); pai.CodeOf(err) != pai.CodeUsage {
			t.Errorf("%q: got %v, want a usage error", name, err)
		}
	}
	w := newWorld(t)
	for _, key := range []string{"x", "../content.age", "lab-20261120t100000z/../x", "lab-20261120t100000z/other", "LAB-20261120T100000Z/content.age"} {
		err := w.target.Put(t.Context(), key, func(io.Writer) error { return nil })
		if err == nil {
			t.Errorf("key %q was written", key)
		}
	}
	m := w.mustWrite(t, manifestAt(taken))
	elsewhere := t.TempDir()
	if err := os.Rename(filepath.Join(w.dir, m.Name), filepath.Join(elsewhere, m.Name)); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(elsewhere, m.Name), filepath.Join(w.dir, m.Name)); err != nil {
		t.Fatal(err)
	}
	if _, err := backup.Find(t.Context(), w.target, m.Name, w.trusted); err == nil {
		t.Error("a link is followed")
	}
}

// Pruning keeps the newest usable backups of the cluster, and everything that PAI did
// not write.
func TestPruneProperty(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		w, stranger := newWorld(t), newWorld(t)
		stranger.dir, stranger.target = w.dir, w.target
		now := taken.Add(1000 * time.Hour)
		var ours, others []string
		incomplete := map[string]time.Time{}
		for i := range rapid.IntRange(0, 8).Draw(r, "backups") {
			at := taken.Add(time.Duration(i*150+rapid.IntRange(0, 99).Draw(r, "hours")) * time.Hour)
			m := manifestAt(at)
			switch rapid.SampledFrom([]string{"ours", "ours", "ours", "foreign", "other cluster", "incomplete", "file"}).Draw(r, "kind") {
			case "ours":
				w.mustWrite(t, m)
				if at.After(now) { // by a wrong clock
					others = append(others, m.Name)
				} else {
					ours = append(ours, m.Name)
				}
			case "foreign":
				stranger.mustWrite(t, m)
				others = append(others, m.Name)
			case "other cluster":
				m.Name, m.ClusterID = backup.NameOf("lab-2", at), "lab-2"
				w.mustWrite(t, m)
				others = append(others, m.Name)
			case "incomplete":
				w.mustWrite(t, m)
				if err := os.Remove(filepath.Join(w.dir, m.Name, "manifest.json")); err != nil {
					t.Fatal(err)
				}
				incomplete[m.Name] = at
			case "file":
				name := "notes-" + m.Name
				if err := os.MkdirAll(filepath.Join(w.dir, name, "x"), 0o700); err != nil {
					t.Fatal(err)
				}
				others = append(others, name)
			}
		}
		keep := rapid.IntRange(1, 4).Draw(r, "keep")
		deleted, err := backup.Prune(t.Context(), w.target, "lab", keep, w.trusted[0], now)
		if err != nil {
			r.Fatal(err)
		}
		left := map[string]bool{}
		entries, err := os.ReadDir(w.dir)
		if err != nil {
			r.Fatal(err)
		}
		for _, e := range entries {
			left[e.Name()] = true
		}
		for i, name := range ours { // oldest first
			if want := len(ours)-i <= keep; left[name] != want || slices.Contains(deleted, name) == want {
				r.Errorf("%s, number %d of %d, with keep %d: left %t, want %t", name, i, len(ours), keep, left[name], want)
			}
		}
		for _, name := range others {
			if !left[name] || slices.Contains(deleted, name) {
				r.Errorf("%s was deleted, which PAI did not write for this cluster, or in the future", name)
			}
		}
		for name, at := range incomplete {
			if want := now.Sub(at) < 24*time.Hour; left[name] != want {
				r.Errorf("incomplete %s: left %t, want %t", name, left[name], want)
			}
		}
	})
	w := newWorld(t)
	if _, err := backup.Prune(t.Context(), w.target, "lab", 0, w.trusted[0], taken); pai.CodeOf(err) != pai.CodeUsage {
		t.Errorf("got %v for keep 0, want a usage error", err)
	}
}
