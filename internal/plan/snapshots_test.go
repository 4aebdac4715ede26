package plan

import (
	"slices"
	"strings"
	"testing"

	"pai.dev/pai/internal/pai"
)

// The snapshots of a cluster that was upgraded twice, after attempts that were
// rolled back, the newest first.
var takenInTwoHops = []string{
	"v0.11-pai-to-v0.9-pai.db",
	"v0.10-pai-to-v0.11-pai-commit.db",
	"v0.10-pai-to-v0.11-pai.db",
	"v0.9-pai-to-v0.10-pai-commit.db",
	"v0.9-pai-to-v0.10-pai.db",
	"v0.9-pai-to-v0.12-pai-commit.db",
	"v0.9-pai-to-v0.10-pai-restored.db",
	"none-to-v0.9-pai.db",
	"notes.db",
}

func TestSnapshotToRestore(t *testing.T) {
	for _, c := range []struct {
		name       string
		names      []string
		to, newest pai.KubernetesVersion
		want       string
	}{
		{"one hop", takenInTwoHops, "v0.10-pai", "v0.11-pai", "v0.10-pai-to-v0.11-pai-commit.db"},
		{"of another build", takenInTwoHops, "v0.10-pai+0123456789ab", "v0.11-pai+ab0123456789", "v0.10-pai-to-v0.11-pai-commit.db"},
		{"two hops", takenInTwoHops, "v0.9-pai", "v0.11-pai", "v0.9-pai-to-v0.10-pai-commit.db"},
		{"an attempt is left out that went further", takenInTwoHops[5:], "v0.9-pai", "v0.11-pai", ""},
		{"a restored one is none", takenInTwoHops[6:7], "v0.9-pai", "v0.10-pai", ""},
		{"no hop left the version", takenInTwoHops, "v0.8-pai", "v0.11-pai", ""},
		{"nothing", nil, "v0.9-pai", "v0.10-pai", ""},
		{"the last one of two attempts", []string{"v0.9-pai-to-v0.10-pai.db", "v0.9-pai-to-v0.10.1-pai-commit.db"}, "v0.9-pai", "v0.10.1-pai", "v0.9-pai-to-v0.10-pai.db"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := SnapshotToRestore(c.names, c.to, c.newest); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// After a restore, no hop that comes later finds a snapshot of a hop that was undone.
// What a rollback saved of the data that it replaced stays.
func TestUndoneSnapshots(t *testing.T) {
	if got := UndoneSnapshots(takenInTwoHops, "v0.9-pai"); !slices.Equal(got, takenInTwoHops[1:6]) {
		t.Errorf("got %v", got)
	}
	if got := UndoneSnapshots(takenInTwoHops, "v0.10-pai"); !slices.Equal(got, takenInTwoHops[1:3]) {
		t.Errorf("got %v", got)
	}
}

// A rollback over two committed hops restores what the programs of the first version
// wrote, in one step.
func TestRollbackOverTwoHops(t *testing.T) {
	rows := manyReleases(3)
	in := running(rows, "v0.11", "cp-01", "gpu-01")
	for _, r := range rows {
		in.Services[r.Services.Version] = someServices()["v0.9"]
	}
	to := pairOf(rows[0])
	if _, err := Rollback(in, to, Target{}); err == nil || !strings.Contains(err.Error(), "no etcd snapshot from before it is left") {
		t.Fatalf("without a snapshot: %v", err)
	}
	in.Snapshots = takenInTwoHops
	p, err := Rollback(in, to, Target{})
	if err != nil {
		t.Fatal(err)
	}
	var restores []Step
	for _, s := range p.Steps {
		if s.Kind == KindRestore {
			restores = append(restores, s)
		}
	}
	if len(restores) != 1 || restores[0].From != "v0.11-pai" || restores[0].To != "v0.9-pai" {
		t.Fatalf("got %+v", restores)
	}
	w := in.After(in.World, p.Steps)
	for _, m := range w.Machines {
		if got := m.Roles[RoleKubelet].Running; got != "v0.9-pai" {
			t.Errorf("%s ends with the kubelet of %s", m.Name, got)
		}
	}
}
