package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/test/etcdtest"
	"pai.dev/pai/test/inspecttest"
)

// restoredMachine is a control-plane machine after a commit, whose etcd in slot a was
// stopped. Its scripts run with sh; log has what systemctl and etcdutl did.
type restoredMachine struct {
	*inspecttest.Host
	t     *testing.T
	log   string
	stubs string
}

// backStep restores v0.10 after a commit of v0.11.
var backStep = plan.Step{Kind: plan.KindRestore, Target: "pai-1", From: "v0.11-pai", To: "v0.10-pai"}

func newRestoredMachine(t *testing.T) *restoredMachine {
	t.Helper()
	h := &restoredMachine{Host: inspecttest.NewHost(t, "pai-1"), t: t, log: filepath.Join(t.TempDir(), "log")}
	for name, data := range etcdtest.NewHost("pai-1", etcdtest.NewPKI(t)).Files {
		h.Write(name, string(data))
	}
	h.stubs = "systemctl() { echo \"$*\" >>'" + h.log + "'; }\nsync() { :; }\n"
	h.Write(layout.Program("v0.10-pai", "etcdutl"), `#!/bin/sh
case "$*" in *status*) echo '{"revision":5}'; exit ;; esac
echo restore >>'`+h.log+`'
from=$3
while [ "$1" != --data-dir ]; do shift; done
mkdir -p "$2/member/snap" && cp "$from" "$2/member/snap/db"
`)
	h.Write(layout.SlotA.EtcdDatabase(), "committed")
	for i, name := range []string{"v0.10-pai-to-v0.11-pai.db", "v0.10-pai-to-v0.11-pai-commit.db"} {
		h.Write(layout.SnapshotsDir+"/"+name, name)
		at := time.Unix(int64(1e9+i), 0)
		if err := os.Chtimes(h.At(layout.SnapshotsDir+"/"+name), at, at); err != nil {
			t.Fatal(err)
		}
	}
	h.Script = func(ctx context.Context, c machine.Command) (string, error) {
		script := ownPath.ReplaceAllString(c.Script, "${1}"+string(h.Dir)+"/$2/")
		cmd := exec.CommandContext(ctx, "sh", "-euc", h.stubs+script)
		var errs bytes.Buffer
		cmd.Dir, cmd.Stderr = t.TempDir(), &errs
		out, err := cmd.Output()
		if err != nil {
			err = fmt.Errorf("%w: %s", err, errs.String())
		}
		return string(out), err
	}
	return h
}

// source is what a restore would do now.
func (h *restoredMachine) source() (string, layout.Slot) {
	h.t.Helper()
	snapshot, err := snapshotToRestore(h.t.Context(), h, backStep)
	if err != nil {
		h.t.Fatal(err)
	}
	snapshot, from, err := sourceOfRestore(h.t.Context(), h, backStep, snapshot, map[layout.Slot]plan.RoleState{layout.SlotA: {Link: "v0.11-pai"}})
	if err != nil {
		h.t.Fatal(err)
	}
	return filepath.Base(snapshot), from
}

func (h *restoredMachine) replace() error {
	snapshot, from := h.source()
	c := &cluster{Deps: Deps{Config: testConfig(), Progress: func(string, ...any) {}}}
	return c.replaceData(h.t.Context(), h, testConfig().ControlPlane(), from, "", backStep, layout.SnapshotsDir+"/"+snapshot, "v0.10-pai")
}

func (h *restoredMachine) content(name string) string {
	data, err := os.ReadFile(h.At(name))
	if err != nil {
		return err.Error()
	}
	return string(data)
}

// did is what systemctl and etcdutl did.
func (h *restoredMachine) did() string {
	data, err := os.ReadFile(h.log)
	if err != nil {
		h.t.Fatal(err)
	}
	return string(data)
}

// A machine that boots while etcd is restored does not start the programs that wrote to
// the data before.
func TestRestoreDisablesWhatItStops(t *testing.T) {
	t.Parallel()
	h := newRestoredMachine(t)
	if err := h.replace(); err != nil {
		t.Fatal(err)
	}
	did := strings.Split(h.did(), "\n")
	restored := slices.Index(did, "restore")
	for _, r := range []plan.Role{plan.RoleEtcdA, plan.RoleEtcdB, plan.RoleAPIServerA, plan.RoleAPIServerB, plan.RoleControllerManager, plan.RoleScheduler} {
		stopped, disabled := slices.Index(did, "stop "+layout.Unit(r)), slices.Index(did, "disable -q "+layout.Unit(r))
		if stopped < 0 || disabled < stopped || restored < disabled {
			t.Errorf("%s: got\n%s\nwant it stopped and disabled before the restore", r, strings.Join(did, "\n"))
		}
	}
	if got := h.content(layout.SlotB.EtcdDatabase()); got != "v0.10-pai-to-v0.11-pai-commit.db" {
		t.Errorf("got data %q, want those of the commit", got)
	}
	// The restored data have their members. Without data, it must not start a cluster.
	if got := h.content(layout.SlotB.EtcdEnv()); !strings.HasPrefix(got, "ETCD_INITIAL_CLUSTER_STATE=existing\n") || !strings.Contains(got, restoredFrom) {
		t.Errorf("got first membership %q", got)
	}
	if snapshot, from := h.source(); snapshot != "." || from != layout.SlotA {
		t.Errorf("got %s to restore again over slot %s, want none", snapshot, from.Name)
	}
}

// A restore that dies while it retires its snapshot never finds an older one of the same
// hop.
func TestRestoreNeverTakesAnOlderSnapshot(t *testing.T) {
	t.Parallel()
	for _, stub := range []string{"rm() { return 1; }\n", "mv() { return 1; }\n", "sync() { return 1; }\n"} {
		h := newRestoredMachine(t)
		whole := h.stubs
		h.stubs += stub
		if err := retireSnapshot(t.Context(), h, backStep, "v0.10-pai-to-v0.11-pai-commit.db"); err == nil {
			t.Errorf("%s: got no error", stub)
		}
		h.stubs = whole
		if got, _ := h.source(); got != "v0.10-pai-to-v0.11-pai-commit.db" {
			t.Errorf("%s: got %s, want the snapshot that was restored", stub, got)
		}
		if err := h.replace(); err != nil {
			t.Errorf("%s: continued: %v", stub, err)
		}
		if names, err := Snapshots(t.Context(), h); err != nil || !slices.Equal(names, []string{"v0.10-pai-to-v0.11-pai-restored.db"}) {
			t.Errorf("%s: got snapshots %v, %v", stub, names, err)
		}
	}
}

// Power loss after a restore can leave its records without its data. Then the same
// snapshot is restored again, but only over the data that it replaced.
func TestRestoreSurvivesPowerLoss(t *testing.T) {
	t.Parallel()
	h := newRestoredMachine(t)
	h.Write(layout.SlotA.EtcdEnv(), "ETCD_INITIAL_CLUSTER_STATE=existing\n"+restoredFrom+"=\"of an earlier rollback\"\n")
	if err := h.replace(); err != nil {
		t.Fatal(err)
	}
	if got := h.content(layout.SlotA.EtcdEnv()); got != "ETCD_INITIAL_CLUSTER_STATE=existing\n" {
		t.Errorf("got %q, want no mark of an earlier rollback", got)
	}
	if err := os.RemoveAll(h.At(layout.SlotB.EtcdData())); err != nil {
		t.Fatal(err)
	}
	if snapshot, from := h.source(); snapshot != "v0.10-pai-to-v0.11-pai-restored.db" || from != layout.SlotA {
		t.Errorf("got %s over slot %s, want the retired snapshot over slot a", snapshot, from.Name)
	}
	if err := h.replace(); err != nil {
		t.Fatal(err)
	}
	if got := h.content(layout.SlotB.EtcdDatabase()); got != "v0.10-pai-to-v0.11-pai-commit.db" {
		t.Errorf("got data %q, want those of the commit", got)
	}
	if snapshot, _ := h.source(); snapshot != "." {
		t.Errorf("got %s to restore again, want none", snapshot)
	}
	// Without the data that it replaced, it would be a restore of an old state.
	for _, s := range layout.Slots() {
		if err := os.RemoveAll(h.At(s.EtcdData())); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := sourceOfRestore(t.Context(), h, backStep, "", nil); err == nil || !strings.Contains(err.Error(), "its data are not in") {
		t.Errorf("got %v without any data, want an error", err)
	}
}

// A restore must assign revisions above those that it reads here, so an answer
// that cannot be read is no revision.
func TestRevisionOf(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		out  string
		err  error
		want int64
	}{
		{out: `{"hash":4209319503,"revision":4021,"totalKey":1,"totalSize":20480,"version":"3.6.0"}`, want: 4021},
		{out: ""}, // no such file
		{out: "Revision 7", want: -1},
		{err: errors.New("invalid database"), want: -1},
	} {
		h := &fakeHost{run: func(string) (string, error) { return c.out, c.err }}
		got, err := revisionOf(t.Context(), h, "v0.10-pai", "/s/a.db")
		if err != nil {
			got = -1
		}
		if got != c.want || err != nil && !strings.Contains(err.Error(), "/s/a.db") {
			t.Errorf("%q, %v: got %d, %v, want %d", c.out, c.err, got, err, c.want)
		}
	}
}
