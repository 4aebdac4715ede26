package backup_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pai.dev/pai/internal/backup"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/release"
)

// machineKey makes the key of a machine.
func machineKey(t *testing.T) (public string, key ed25519.PrivateKey) {
	t.Helper()
	p, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return release.EncodePublicKey(p), key
}

// byMachine makes a backup with the key of a machine.
func (w world) byMachine(t *testing.T, m backup.Manifest, key ed25519.PrivateKey, permissions ...backup.Permission) backup.Manifest {
	t.Helper()
	m, err := backup.Write(t.Context(), w.target, m, backup.Options{Recipients: []string{w.identity.Recipient().String()}, Key: key, Permissions: permissions},
		func(c *backup.Writer, _ *backup.Manifest) error {
			return c.Add(backup.JobsFile, 2, strings.NewReader("{}"))
		})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// A reader that trusts an operator trusts the backups of the machine that the operator
// permitted, and of no other one.
func TestPermittedMachineIsTrusted(t *testing.T) {
	t.Parallel()
	_, stranger, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	public, key := machineKey(t)
	other, _ := machineKey(t)
	for _, c := range []struct {
		name   string
		permit func(operator ed25519.PrivateKey) []backup.Permission
		ok     bool
	}{
		{"permitted", func(o ed25519.PrivateKey) []backup.Permission {
			return []backup.Permission{backup.Permit("lab", public, taken, o)}
		}, true},
		{"permitted beside others", func(o ed25519.PrivateKey) []backup.Permission {
			return []backup.Permission{backup.Permit("lab", public, taken, stranger), backup.Permit("lab", public, taken, o)}
		}, true},
		{"without a permission", func(ed25519.PrivateKey) []backup.Permission { return nil }, false},
		{"permitted by a stranger", func(ed25519.PrivateKey) []backup.Permission {
			return []backup.Permission{backup.Permit("lab", public, taken, stranger)}
		}, false},
		{"for another cluster", func(o ed25519.PrivateKey) []backup.Permission {
			return []backup.Permission{backup.Permit("prod", public, taken, o)}
		}, false},
		{"for another machine", func(o ed25519.PrivateKey) []backup.Permission {
			return []backup.Permission{backup.Permit("lab", other, taken, o)}
		}, false},
		{"for another machine, and then changed", func(o ed25519.PrivateKey) []backup.Permission {
			p := backup.Permit("lab", other, taken, o)
			p.PublicKey = public
			return []backup.Permission{p}
		}, false},
		{"for another cluster, and then changed", func(o ed25519.PrivateKey) []backup.Permission {
			p := backup.Permit("prod", public, taken, o)
			p.ClusterID = "lab"
			return []backup.Permission{p}
		}, false},
		{"at another time than signed", func(o ed25519.PrivateKey) []backup.Permission {
			p := backup.Permit("lab", public, taken, o)
			p.At = p.At.Add(time.Hour)
			return []backup.Permission{p}
		}, false},
		{"by a stranger in the name of the operator", func(o ed25519.PrivateKey) []backup.Permission {
			p := backup.Permit("lab", public, taken, stranger)
			p.Operator = release.EncodePublicKey(o.Public().(ed25519.PublicKey))
			return []backup.Permission{p}
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			m := w.byMachine(t, manifestAt(taken), key, c.permit(w.key)...)
			_, err := backup.Find(t.Context(), w.target, m.Name, w.trusted)
			if (err == nil) != c.ok || err != nil && pai.CodeOf(err) != pai.CodeRefused {
				t.Errorf("got %v, want trust: %t", err, c.ok)
			}
			found, err := backup.List(t.Context(), w.target, w.trusted)
			if err != nil || len(found) != 1 || found[0].ByMachine != c.ok || c.ok && found[0].Signer != public {
				t.Errorf("got %+v, %v, want it by its machine: %t", found, err, c.ok)
			}
		})
	}
}

// A permission does not make a forged signature good, and the permitted key signs
// nothing for other clusters.
func TestPermittedKeyStillSigns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	public, key := machineKey(t)
	permission := backup.Permit("lab", public, taken, w.key)
	m := w.byMachine(t, manifestAt(taken), key, permission)
	file := filepath.Join(w.dir, m.Name, "signature.json")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var signed map[string]any
	if err := json.Unmarshal(data, &signed); err != nil {
		t.Fatal(err)
	}
	signed["signatures"].([]any)[0].(map[string]any)["signature"] = bytes.Repeat([]byte{1}, ed25519.SignatureSize)
	if data, err = json.Marshal(signed); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := backup.Find(t.Context(), w.target, m.Name, w.trusted); pai.CodeOf(err) != pai.CodeRefused {
		t.Errorf("got %v, want a refusal of the forged signature", err)
	}

	foreign := backup.Manifest{Name: backup.NameOf("prod", taken), ClusterID: "prod", Taken: taken, Kubernetes: "v0.11-pai", Bundles: []backup.Bundle{}}
	m = w.byMachine(t, foreign, key, permission)
	if _, err := backup.Find(t.Context(), w.target, m.Name, w.trusted); pai.CodeOf(err) != pai.CodeRefused {
		t.Errorf("got %v, want a refusal of another cluster", err)
	}
}

// The retention of an operator leaves the backups of the machine alone, and the other
// way round, although both are in one directory.
func TestPruneIsOfOneKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	public, key := machineKey(t)
	permission := backup.Permit("lab", public, taken, w.key)
	for i := range 3 {
		w.byMachine(t, manifestAt(taken.Add(time.Duration(2*i)*time.Minute)), key, permission)
		w.mustWrite(t, manifestAt(taken.Add(time.Duration(2*i+1)*time.Minute)))
	}
	count := func() (operator, machine int) {
		found, err := backup.List(t.Context(), w.target, w.trusted)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range found {
			if f.ByMachine {
				machine++
			} else if f.Usable() {
				operator++
			}
		}
		return operator, machine
	}
	now := taken.Add(time.Hour)
	if _, err := backup.Prune(t.Context(), w.target, "lab", 2, w.trusted[0], now); err != nil {
		t.Fatal(err)
	}
	if o, m := count(); o != 2 || m != 3 {
		t.Errorf("after the retention of the operator: got %d and %d of the machine, want 2 and 3", o, m)
	}
	if _, err := backup.Prune(t.Context(), w.target, "lab", 1, key.Public().(ed25519.PublicKey), now); err != nil {
		t.Fatal(err)
	}
	if o, m := count(); o != 2 || m != 1 {
		t.Errorf("after the retention of the machine: got %d and %d of the machine, want 2 and 1", o, m)
	}
}

// A machine has one permission of each operator for its present key and cluster.
func TestPermissionsOfAMachine(t *testing.T) {
	t.Parallel()
	public, _ := machineKey(t)
	older, _ := machineKey(t)
	_, ann := machineKey(t)
	_, bob := machineKey(t)
	all := backup.AddPermission(nil, backup.Permit("lab", older, taken, ann))
	all = backup.AddPermission(all, backup.Permit("lab", public, taken, ann))
	all = backup.AddPermission(all, backup.Permit("lab", public, taken, bob))
	all = backup.AddPermission(all, backup.Permit("lab", public, taken.Add(time.Hour), ann))
	data, err := backup.WritePermissions(all)
	if err != nil {
		t.Fatal(err)
	}
	read, err := backup.ReadPermissions(data)
	if err != nil || len(read) != 2 {
		t.Fatalf("got %+v, %v, want one of each operator", read, err)
	}
	for _, operator := range []ed25519.PrivateKey{ann, bob} {
		if !slices.ContainsFunc(read, func(p backup.Permission) bool {
			return p.By([]ed25519.PublicKey{operator.Public().(ed25519.PublicKey)}, "lab", public)
		}) {
			t.Errorf("got %+v, which lacks one of the operators", read)
		}
	}
}

func TestStatusSaysHowOldTheNewestBackupIs(t *testing.T) {
	t.Parallel()
	made := func(ago time.Duration) *backup.Success { return &backup.Success{At: taken.Add(-ago)} }
	failed := func(ago time.Duration) *backup.Failure {
		return &backup.Failure{At: taken.Add(-ago), Error: "the disk is full"}
	}
	for _, c := range []struct {
		status      backup.Status
		want        string
		failed, old bool
	}{
		{backup.Status{Interval: 3600}, "no backup was made yet", false, false},
		{backup.Status{Interval: 3600, Success: made(3 * time.Hour)}, "the newest backup is 3h0m0s old", false, false},
		{backup.Status{Interval: 3600, Success: made(3*time.Hour + time.Second)}, "the newest backup is 3h0m0s old", false, true},
		{backup.Status{Interval: 86400, Success: made(72 * time.Hour)}, "the newest backup is 3 days old", false, true},
		{backup.Status{Interval: 86400, Success: made(-time.Minute)}, "the newest backup is 0s old", false, false},
		{backup.Status{Interval: 86400, Success: made(-48 * time.Hour)}, "the newest backup has a time in the future, 2026-11-22T10:00:00Z", false, true},
		{backup.Status{Interval: 86400, Success: made(-48 * time.Hour), Failure: failed(time.Hour)},
			"the newest backup has a time in the future, 2026-11-22T10:00:00Z; the last attempt failed 1h0m0s ago: the disk is full", true, true},
		{backup.Status{Interval: 86400, Success: made(2 * time.Hour), Failure: failed(time.Hour)},
			"the newest backup is 2h0m0s old; the last attempt failed 1h0m0s ago: the disk is full", true, false},
		{backup.Status{Failure: failed(time.Hour)}, "no backup was made yet; the last attempt failed 1h0m0s ago: the disk is full", true, false},
	} {
		if got := c.status.Describe(taken); got != c.want || c.status.Failed() != c.failed || c.status.Old(taken) != c.old {
			t.Errorf("got %q, failed %t, old %t; want %q, %t, %t", got, c.status.Failed(), c.status.Old(taken), c.want, c.failed, c.old)
		}
	}
}
