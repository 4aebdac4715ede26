package cluster

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"testing"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/test/inspecttest"
)

// newRestoredEtcd is a machine whose newer etcd in slot a serves a snapshot that was
// restored. Scripts that change no unit run with sh.
func newRestoredEtcd(t *testing.T) *etcdMachine {
	t.Helper()
	e := newEtcdMachineOf(t, "v0.11-pai", "v0.10-pai", voter(1, "pai-1-a", "https://10.9.0.11:2380"))
	e.etcd.Storage = "3.7.0"
	if err := (&cluster{Deps: e.deps()}).renderRole(t.Context(), e, e.m, "v0.11-pai", layout.RoleEtcdA); err != nil {
		t.Fatal(err)
	}
	e.start(layout.SlotA, "v0.11-pai")
	e.Write(layout.SnapshotsDir+"/"+plan.RestoredSnapshot("v0.10-pai", "v0.11-pai"), "")
	e.Write(layout.SlotA.EtcdDatabase(), "restored")
	e.Write(layout.SlotA.EtcdEnv(), membership(stateExisting, "pai-1-a=https://10.9.0.11:2380")+restoredFrom+"=\"x.db\"\n")
	e.Script = func(ctx context.Context, c machine.Command) (string, error) {
		if out, err := e.run(ctx, c); err != nil || strings.Contains(c.Script, "systemctl") && !strings.Contains(c.Script, "rm -rf") {
			return out, err
		}
		script := ownPath.ReplaceAllString(c.Script, "${1}"+string(e.Dir)+"/$2/")
		out, err := exec.CommandContext(ctx, "sh", "-euc", "systemctl() { :; }\nsync() { :; }\n"+script).Output()
		return string(out), err
	}
	return e
}

// After a restore, the older etcd takes over from the newer one. Wherever that dies, the
// restore that continues destroys no member, restores nothing again, and is done then.
func TestRestoreContinuesAfterItsEtcdWasReplaced(t *testing.T) {
	t.Parallel()
	const whole = 1000
	for last, died := 1, true; died; last++ {
		if last == whole {
			t.Fatal("the handover does not end")
		}
		e := newRestoredEtcd(t)
		alive, commands := e.Script, 0
		died = false
		e.Script = func(ctx context.Context, c machine.Command) (string, error) {
			out, err := alive(ctx, c)
			if commands++; commands >= last {
				died = true
				return "", errors.New("killed")
			}
			return out, err
		}
		if _, err := e.step(); died != (err != nil) {
			t.Fatalf("died %v, got %v", died, err)
		}
		e.Script = alive
		c := &cluster{Deps: e.deps()}
		c.Progress = func(string, ...any) {}
		back := plan.Step{Kind: plan.KindRestore, Target: "pai-1", From: "v0.11-pai", To: "v0.10-pai"}
		if err := c.restoreEtcd(t.Context(), e, e.m, back, "v0.11-pai"); err != nil {
			t.Errorf("killed after command %d: %v", last, err)
			continue
		}
		served, err := c.restoredServes(t.Context(), e, e.m, back)
		if err != nil {
			t.Fatal(err)
		}
		if done, err := e.step(); err != nil || !done || !served {
			t.Errorf("killed after command %d: served %v, then got done %v, %v", last, served, done, err)
		}
		if unit := e.Units[layout.Unit(layout.RoleEtcdB)]; unit != (inspecttest.Unit{State: "active", PID: unit.PID}) || len(e.etcd.Members) != 1 {
			t.Errorf("killed after command %d: got unit %v, members %v", last, unit, e.etcd.Members)
		}
	}
}
