package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pai.dev/pai/internal/backup"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/test/inspecttest"
)

// dying is a machine that dies before a command of a script, or before a file is
// written. The commands are counted; 0 is never.
type dying struct {
	*inspecttest.Host
	count string // file
	at    int
}

var errDied = errors.New("the machine died")

// machineStubs replace programs that a test must not run, and let bash die.
const machineStubs = `systemctl() { :; }
sync() { echo "$*" >>"$COUNT.synced"; }
nft() { case $1 in -f) cp "$2" "$ROOT/run/nft" ;; list) cat "$ROOT/run/nft" ;; delete) rm -f "$ROOT/run/nft" ;; esac; }
tick() { echo >> "$COUNT"; mapfile -t ticks < "$COUNT"; [ ${#ticks[@]} -ne "$DIES" ] || { builtin kill -9 $$; exit 137; }; }
set -T
trap tick DEBUG
`

func newDying(t *testing.T, at int) *dying {
	t.Helper()
	h := &dying{Host: inspecttest.NewHost(t, "pai-1"), count: filepath.Join(t.TempDir(), "count"), at: at}
	h.Write("/run/x", "")
	h.Write(layout.UnitsDir+"/x", "")
	h.Write(layout.StateDir+"/operations/restore.json", "of this restore")
	// What etcdutl makes is complete only at its end.
	h.Write(layout.Program(recoveredVersion, "etcdutl"), `#!/bin/sh
while [ "$1" != --data-dir ]; do from=$1; shift; [ "$from" = restore ] && snapshot=$1; done
mkdir -p "$2/member/snap" && cp "$snapshot" "$2/member/snap/db"
`)
	h.Script = func(ctx context.Context, c machine.Command) (string, error) {
		script := ownPath.ReplaceAllString(c.Script, "${1}"+string(h.Dir)+"/$2/")
		cmd := exec.CommandContext(ctx, "bash", "-euc", machineStubs+script)
		cmd.Dir = t.TempDir()
		cmd.Env = []string{"PATH=/usr/bin:/bin", "ROOT=" + string(h.Dir), "COUNT=" + h.count, fmt.Sprintf("DIES=%d", h.at)}
		if cmd.Stdin = c.Stdin; c.Stdin == nil {
			cmd.Stdin = strings.NewReader("")
		}
		var errs bytes.Buffer
		cmd.Stderr = &errs
		out, err := cmd.Output()
		if h.at > 0 && h.counted() >= h.at {
			return "", errDied
		}
		if err != nil {
			return string(out), &machine.CommandError{Host: h.Hostname, Script: c.Script, Code: 1, Output: errs.String()}
		}
		return string(out), nil
	}
	return h
}

func (h *dying) counted() int {
	data, err := os.ReadFile(h.count)
	if err != nil {
		return 0
	}
	return len(data)
}

func (h *dying) WriteFile(ctx context.Context, name string, data []byte, mode fs.FileMode) error {
	n := h.counted() + 1
	if err := os.WriteFile(h.count, bytes.Repeat([]byte("\n"), n), 0o600); err != nil {
		return err
	}
	if h.at > 0 && n >= h.at {
		return errDied
	}
	return h.Host.WriteFile(ctx, name, data, mode)
}

const recoveredVersion = comparedVersion

// backupFiles are the files of a backup.
func backupFiles() map[string]string {
	files := map[string]string{"etcd/snapshot.db": strings.Repeat("snapshot", 1000), "encryption.yaml": "the key of Secrets",
		"state/operations/1.json": "of the backup", "state/operations/restore.json": "an older restore", "state/revisions/1/layout.yaml": "machines",
		"state/" + filepath.Base(layout.ClusterRecordFile): "the record"}
	for _, f := range backup.Authorities() {
		files["pki/"+f] = "content of " + f
	}
	return files
}

func recovering(t *testing.T) *cluster {
	t.Helper()
	read := func(_ context.Context, visit func(string, int64, io.Reader) error) error {
		files := backupFiles()
		for _, name := range slices.Sorted(maps.Keys(files)) {
			if err := visit(name, int64(len(files[name])), strings.NewReader(files[name])); err != nil {
				return err
			}
		}
		return nil
	}
	return &cluster{Deps: Deps{Config: testConfig(), Progress: func(string, ...any) {},
		Recovery: &RecoveryTask{Backup: "b", Taken: time.Unix(1e9, 0).UTC(), Machine: "pai-1", Read: read}}}
}

// tree is the content of the files of a machine.
func (h *dying) tree(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{}
	for _, dir := range []string{layout.KubernetesDir, layout.ConfigDir, layout.StateDir, layout.EtcdDir, layout.UnitsDir, "/run"} {
		err := filepath.WalkDir(h.At(dir), func(path string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) || err == nil && d.IsDir() {
				return nil
			}
			data, readErr := os.ReadFile(path)
			files[strings.TrimPrefix(path, string(h.Dir))] = strings.ReplaceAll(string(data), string(h.Dir), "")
			return errors.Join(err, readErr)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// checkDead checks what a machine has that died in the middle of a restore: machines
// are kept out before anything of the backup is in its place, and what has a name is
// complete.
func checkDead(t *testing.T, at int, files map[string]string) {
	t.Helper()
	packed := backupFiles()
	places := map[string]string{layout.EncryptionFile: packed["encryption.yaml"], layout.EtcdDir + "/a/member/snap/db": packed["etcd/snapshot.db"],
		layout.StateDir + "/operations/1.json": "of the backup", layout.StateDir + "/revisions/1/layout.yaml": "machines", layout.ClusterRecordFile: "the record"}
	for _, f := range backup.Authorities() {
		places[layout.PKIDir+"/"+f] = packed["pki/"+f]
	}
	ready := strings.Contains(files[layout.RecoveryFile], string(RecoveryData))
	_, gate := files["/run/nft"]
	for path, want := range places {
		got, found := files[path]
		switch {
		case found && (!gate || files[layout.RecoveryFile] == ""):
			t.Errorf("died at %d: %s is there, and machines are not kept out", at, path)
		case ready && got != want:
			t.Errorf("died at %d: the restore is recorded, and %s has %d of %d bytes", at, path, len(got), len(want))
		case found && got != want && !strings.HasPrefix(path, layout.PKIDir) && path != layout.EncryptionFile:
			t.Errorf("died at %d: %s has %d of %d bytes, and a name", at, path, len(got), len(want))
		}
	}
	if files[layout.StateDir+"/operations/restore.json"] != "of this restore" {
		t.Errorf("died at %d: the record of this restore was replaced", at)
	}
}

// The same command continues a restore that died before any command of it.
func TestRecoverContinuesWhereverItDied(t *testing.T) {
	t.Parallel()
	step := plan.Step{Kind: plan.KindRecover, To: pai.AnyVersion(recoveredVersion)}
	run := func(h *dying) (err error) {
		c := recovering(t)
		m := c.Config.ControlPlane()
		done, err := c.recoverDone(t.Context(), h, m, step)
		if err == nil && !done {
			err = c.recover(t.Context(), h, m, step)
		}
		return err
	}
	whole := newDying(t, 0)
	if err := run(whole); err != nil {
		t.Fatal(err)
	}
	want, commands := whole.tree(t), whole.counted()
	checkDead(t, 0, want)
	if commands < 30 || want[layout.EtcdDir+"/a/member/snap/db"] == "" {
		t.Fatalf("got %d commands and files %v", commands, slices.Sorted(maps.Keys(want)))
	}
	if done, err := recovering(t).recoverDone(t.Context(), whole, testConfig().ControlPlane(), step); err != nil || !done {
		t.Fatalf("got done %v, %v, want true", done, err)
	}
	for at := 1; at <= commands; at++ {
		t.Run(strconv.Itoa(at), func(t *testing.T) {
			t.Parallel()
			h := newDying(t, at)
			if err := run(h); err == nil && h.counted() >= at {
				t.Fatal("got no error from a machine that died")
			}
			checkDead(t, at, h.tree(t))
			h.at = 0
			if err := run(h); err != nil {
				t.Fatalf("continued: %v", err)
			}
			if done, err := recovering(t).recoverDone(t.Context(), h, testConfig().ControlPlane(), step); err != nil || !done {
				t.Errorf("continued: got done %v, %v, want true", done, err)
			}
			got := h.tree(t)
			for _, name := range slices.Sorted(maps.Keys(want)) {
				if got[name] != want[name] {
					t.Errorf("continued: got %q in %s, want %q", got[name], name, want[name])
				}
				delete(got, name)
			}
			if len(got) > 0 {
				t.Errorf("continued: got also %v", slices.Sorted(maps.Keys(got)))
			}
		})
	}
}

// emptyUnsynced does to files of the keys what power loss does to those that no program
// has synced.
func (h *dying) emptyUnsynced(t *testing.T) {
	t.Helper()
	said, err := os.ReadFile(h.count + ".synced")
	if err != nil {
		t.Fatal(err)
	}
	var synced []string
	for _, word := range strings.Fields(string(said)) {
		synced = append(synced, strings.TrimPrefix(word, string(h.Dir)))
	}
	for name := range h.tree(t) {
		isSynced := slices.ContainsFunc(synced, func(s string) bool { return name == s || strings.HasPrefix(name, s+"/") })
		if !isSynced && !slices.Contains([]string{layout.GateFile, layout.UnitsDir + "/" + gateUnit, layout.RecoveryFile}, name) &&
			(strings.HasPrefix(name, layout.KubernetesDir) || strings.HasPrefix(name, layout.ConfigDir)) {
			h.Write(name, "")
		}
	}
}

// Power loss after the data are in place leaves no empty key, and a key that is empty
// nevertheless comes from the backup again, without a change to the data.
func TestRecoverSurvivesPowerLoss(t *testing.T) {
	t.Parallel()
	step := plan.Step{Kind: plan.KindRecover, To: pai.AnyVersion(recoveredVersion)}
	h := newDying(t, 0)
	c, m := recovering(t), testConfig().ControlPlane()
	if err := c.recover(t.Context(), h, m, step); err != nil {
		t.Fatal(err)
	}
	h.emptyUnsynced(t)
	checkDead(t, 0, h.tree(t))
	if done, err := c.recoverDone(t.Context(), h, m, step); err != nil || !done {
		t.Errorf("got done %v, %v after power loss, want true", done, err)
	}
	const later = "with later writes"
	for _, stage := range []RecoveryStage{RecoveryData, RecoveryTokens} {
		if err := c.setStage(t.Context(), h, stage); err != nil {
			t.Fatal(err)
		}
		h.Write(layout.PKIDir+"/etcd/ca.crt", "")
		h.Write(layout.SlotA.EtcdDatabase(), later)
		if done, err := c.recoverDone(t.Context(), h, m, step); err != nil || done {
			t.Errorf("%s: got done %v, %v with an empty authority, want false", stage, done, err)
		}
		if err := c.recover(t.Context(), h, m, step); err != nil {
			t.Fatal(err)
		}
		files := h.tree(t)
		if got := files[layout.PKIDir+"/etcd/ca.crt"]; got != backupFiles()["pki/etcd/ca.crt"] {
			t.Errorf("%s: got authority %q", stage, got)
		}
		if files[layout.SlotA.EtcdDatabase()] != later || !strings.Contains(files[layout.RecoveryFile], string(stage)) {
			t.Errorf("%s: the data were restored again, or the stage is another one: %s", stage, files[layout.RecoveryFile])
		}
	}
}

// A restore that continues keeps no machine out that it had admitted.
func TestRecoverKeepsMachinesAdmitted(t *testing.T) {
	t.Parallel()
	step := plan.Step{Kind: plan.KindRecover, To: pai.AnyVersion(recoveredVersion)}
	m := testConfig().ControlPlane()
	for _, s := range []struct {
		stage RecoveryStage
		gate  bool // there is a file
		want  string
	}{
		{RecoveryTokens, true, "shut, 10.9.0.12 admitted"},
		{RecoveryOpening, true, "open"},
		{RecoveryOpening, false, "open"},
		{RecoveryTokens, false, "shut"}, // a clean removed it: who is admitted is unknown
		{RecoveryStarted, true, "shut"}, // nothing was compared with these data
	} {
		h := newDying(t, 0)
		c := recovering(t)
		if err := c.recover(t.Context(), h, m, step); err != nil {
			t.Fatal(err)
		}
		if err := c.setStage(t.Context(), h, s.stage); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(h.At("/run/nft")); err != nil { // the kernel has no gate
			t.Fatal(err)
		}
		if s.gate {
			h.Write(layout.GateFile, gateRules(6443, []netip.Addr{netip.MustParseAddr("10.9.0.12")}))
		} else if err := os.Remove(h.At(layout.GateFile)); err != nil {
			t.Fatal(err)
		}
		done, err := c.recoverDone(t.Context(), h, m, step)
		if err == nil && !done {
			err = c.recover(t.Context(), h, m, step)
		}
		if err == nil {
			done, err = c.recoverDone(t.Context(), h, m, step)
		}
		if err != nil || !done {
			t.Errorf("%s, gate %t: got done %v, %v", s.stage, s.gate, done, err)
		}
		got := "open"
		if rules, shut := h.tree(t)["/run/nft"]; shut {
			got = "shut"
			if strings.Contains(rules, "10.9.0.12") {
				got += ", 10.9.0.12 admitted"
			}
		}
		if got != s.want {
			t.Errorf("%s, gate %t: got it %s, want %s", s.stage, s.gate, got, s.want)
		}
	}
}

// The end of a restore is recorded before the gate opens, so that a run that dies while
// it opens does not shut it again.
func TestOpeningContinuesWhereverItDied(t *testing.T) {
	t.Parallel()
	step := plan.Step{Kind: plan.KindRecover, To: pai.AnyVersion(recoveredVersion)}
	m := testConfig().ControlPlane()
	ready := func(t *testing.T) *dying {
		h := newDying(t, 0)
		c := recovering(t)
		if err := errors.Join(c.recover(t.Context(), h, m, step), c.setStage(t.Context(), h, RecoveryTokens), os.Remove(h.count)); err != nil {
			t.Fatal(err)
		}
		return h
	}
	whole := ready(t)
	if err := recovering(t).open(t.Context(), whole, m, step); err != nil {
		t.Fatal(err)
	}
	for at := 1; at <= whole.counted(); at++ {
		h := ready(t)
		h.at = at
		if err := recovering(t).open(t.Context(), h, m, step); err == nil && h.counted() >= at {
			t.Fatalf("died at %d: got no error", at)
		}
		h.at = 0
		if done, err := recovering(t).recoverDone(t.Context(), h, m, step); err != nil || !done {
			t.Errorf("died at %d: the gate would be shut again: %v, %v", at, done, err)
		}
	}
}
