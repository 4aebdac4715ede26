package plan

import (
	"slices"
	"strings"
	"testing"

	"pai.dev/pai/internal/pai"
)

func lostControlPlane() Input {
	in := input(World{}, twoReleases())
	in.World = World{Machines: []MachineState{
		{Name: "cp", ControlPlane: true, Roles: map[Role]RoleState{}},
		{Name: "w1", Joined: true, Roles: map[Role]RoleState{RoleKubelet: {Link: "v0.11-pai", Running: "v0.11-pai"}}},
		{Name: "w2", Unreachable: "no connection", Roles: map[Role]RoleState{}},
	}}
	in.Recovery = Recovery{Backup: "b", Kubernetes: in.Releases[len(in.Releases)-1].Kubernetes.Version, Services: in.Releases[len(in.Releases)-1].Services.Version}
	return in
}

// No API server starts before the restored data were compared with the machines, and
// the restore is done only when each machine was admitted. Nothing else changes on a
// machine with jobs.
func TestRecoverComparesBeforeItServes(t *testing.T) {
	in := lostControlPlane()
	p, err := Recover(in)
	if err != nil {
		t.Fatal(err)
	}
	before := map[StepID]map[StepID]bool{}
	byKind := map[Kind]StepID{}
	for _, s := range p.Steps {
		before[s.ID] = map[StepID]bool{}
		for _, a := range s.After {
			before[s.ID][a] = true
			for b := range before[a] {
				before[s.ID][b] = true
			}
		}
		byKind[s.Kind] = s.ID
		if s.Target != "" && s.Target != "cp" && s.Kind != KindAdmit {
			t.Errorf("step %s changes a machine whose jobs run", s.ID)
		}
	}
	for _, order := range [][]Kind{{KindPrograms, KindRecover}, {KindRecover, KindPKI}, {KindPKI, KindEtcd}, {KindEtcd, KindReconcile}, {KindReconcile, KindAPIServer}, {KindAPIServer, KindTokens}, {KindTokens, KindKubelet}, {KindTokens, KindAdmit}, {KindAPIServer, KindRecord}, {KindRecord, KindAdmit}, {KindAdmit, KindOpen}} {
		if !before[byKind[order[1]]][byKind[order[0]]] {
			t.Errorf("%s does not wait for %s", byKind[order[1]], byKind[order[0]])
		}
	}
	admitted := 0
	for _, s := range p.Steps {
		if s.Kind == KindAdmit {
			admitted++
			if !before["restore/open"][s.ID] {
				t.Errorf("the gate opens without %s", s.ID)
			}
		}
	}
	if admitted != 2 {
		t.Errorf("got %d machines to admit, want both workers", admitted)
	}
}

func TestRecoverRefusals(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Input)
		want   string
	}{
		{"a control plane is there", func(in *Input) { in.Recovery.Data = "/etc/kubernetes/pki/ca.key" }, "already has a control plane"},
		{"another restore is unfinished", func(in *Input) { in.Recovery.Has, in.Recovery.Data = "other", "x" }, "is being restored from backup other"},
		{"another restore is done", func(in *Input) { in.Recovery.Has, in.Recovery.Done, in.Recovery.Data = "other", true, "x" }, "already has a control plane"},
		{"an unknown version", func(in *Input) { in.Recovery.Kubernetes = "v9.9-pai" }, "no known release"},
		{"an unreachable machine", func(in *Input) { in.World.Machines[0].Unreachable = "off" }, "unreachable"},
	} {
		in := lostControlPlane()
		c.change(&in)
		if _, err := Recover(in); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
	in := lostControlPlane()
	in.Recovery.Has, in.Recovery.Data = "b", "/etc/kubernetes/pki/ca.key"
	if p, err := Recover(in); err != nil || !slices.ContainsFunc(p.Steps, func(s Step) bool { return s.Kind == KindRecover }) {
		t.Errorf("an unfinished restore: got %v, %v, want that it continues", p.Steps, err)
	}
	in.Recovery.Done = true
	if p, err := Recover(in); err != nil || len(p.Steps) > 0 {
		t.Errorf("a finished restore: got %v, %v, want no steps", p.Steps, err)
	}
}

func TestBackupRefusals(t *testing.T) {
	if _, err := Backup(World{}, "b"); pai.CodeOf(err) != pai.CodeRefused {
		t.Errorf("without a cluster: got %v, want a refusal", err)
	}
	w := World{Current: pai.Pair{Kubernetes: "v0.10-pai"}, Machines: []MachineState{{Name: "cp", ControlPlane: true,
		Roles: map[Role]RoleState{RoleAPIServerA: {Link: "v0.11-pai", Running: "v0.11-pai"}}}}}
	if _, err := Backup(w, "b"); pai.CodeOf(err) != pai.CodeRefused {
		t.Errorf("in the middle of an upgrade: got %v, want a refusal", err)
	}
	w.Machines[0].Roles[RoleAPIServerA] = RoleState{Link: "v0.10-pai", Running: "v0.10-pai"}
	if p, err := Backup(w, "b"); err != nil || len(p.Steps) != 1 || p.Steps[0].ID != "backup/b" {
		t.Errorf("got %v, %v, want one step", p.Steps, err)
	}
}
