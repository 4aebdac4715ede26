package cluster

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"pai.dev/pai/internal/backup/source"
	"pai.dev/pai/internal/layout"
)

func TestScratchIsOwnedByItsProcess(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	snapshots, link := filepath.Join(root, "snapshots"), filepath.Join(root, "link")
	at := func(script string) string { return strings.ReplaceAll(script, layout.SnapshotsDir, snapshots) }
	run := func(script string) string {
		t.Helper()
		cmd := exec.Command("sh", "-euc", at(script))
		cmd.Env = append(os.Environ(), "SCRATCH="+link)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return strings.TrimSpace(string(out))
	}
	ended := filepath.Join(snapshots, ".scratch-Xa71bZ") // as v0.10 names it
	running := filepath.Join(snapshots, ".scratch-"+strconv.Itoa(os.Getpid()))
	for _, dir := range []string{ended, running} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if got := run(source.StaleScratch); got != ended {
		t.Errorf("got stale %q, want %q", got, ended)
	}
	scratch := run(source.MakeScratch + "\necho \"$scratch\"; echo x >\"$SCRATCH/file\"")
	if target, err := os.Readlink(link); err != nil || target != scratch {
		t.Errorf("got a link to %q, %v, want %q", target, err, scratch)
	}
	if data, err := os.ReadFile(filepath.Join(scratch, "file")); err != nil || string(data) != "x\n" {
		t.Errorf("got %q, %v through the link", data, err)
	}
	for dir, want := range map[string]bool{ended: false, running: true} {
		if _, err := os.Stat(dir); (err == nil) != want {
			t.Errorf("%s: got %v, want present %v", dir, err, want)
		}
	}
}
