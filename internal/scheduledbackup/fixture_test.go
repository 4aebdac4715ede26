package scheduledbackup

import (
	"archive/tar"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"golang.org/x/crypto/nacl/secretbox"

	"pai.dev/pai/internal/backup"
	"pai.dev/pai/internal/backup/source"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/release"
	"pai.dev/pai/internal/run"
)

// world is a control-plane machine with backups, and its operator.
type world struct {
	Machine
	t        *testing.T
	operator ed25519.PrivateKey
	identity *age.X25519Identity
	to       string // the directory in the root of the machine
	settings backup.Scheduled
	// secretKey is the key of the Secret in etcd; that of the machine is 7.
	secretKey byte
	// scripts are the scripts that ran.
	scripts []string
	// during is called while the script runs.
	during func()
	clock  time.Duration // added to the time
	log    strings.Builder
}

var began = time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)

func newWorld(t *testing.T) *world {
	t.Helper()
	_, operator, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, operator: operator, identity: identity, to: "/mnt/backups", secretKey: 7}
	w.Machine = Machine{Root: t.TempDir(), Version: "v0.11", Now: func() time.Time { return began.Add(w.clock) },
		Log: slog.New(slog.NewTextHandler(&w.log, nil)), Run: w.program, Script: w.script, Lock: run.LockOptions{}}
	w.settings = backup.Scheduled{ClusterID: "lab", Machine: "pai-1", To: w.to, Keep: 2, Recipients: []string{identity.Recipient().String()}, Every: 3600}
	w.configure()
	w.put(layout.UnitsDir+"/"+layout.BackupUnit, "# Written by PAI.\n")
	w.put(layout.ClusterRecordFile, `{"clusterId":"lab","kubernetes":"v0.11-pai","services":"v0.11"}`)
	w.put(layout.VersionDir("v0.11-pai")+"/"+layout.ReleaseFile, `{"release":"v0.11","bundle":"sha256:b"}`)
	w.put(layout.SlotA.EtcdDatabase(), "the data of etcd")
	w.link(layout.RoleEtcdA, "v0.11-pai")
	w.link(layout.RoleAPIServerA, "v0.11-pai")
	key, err := release.EnsureKey(w.at(layout.BackupKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	data, err := backup.WritePermissions([]backup.Permission{backup.Permit("lab", release.EncodePublicKey(key.Public().(ed25519.PublicKey)), began, operator)})
	if err != nil {
		t.Fatal(err)
	}
	w.put(layout.BackupPermissionsFile, string(data))
	if err := os.MkdirAll(w.at(w.to), 0o755); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) configure() {
	w.t.Helper()
	data, err := json.Marshal(w.settings)
	if err != nil {
		w.t.Fatal(err)
	}
	w.put(layout.ScheduledBackupFile, string(data))
}

func (w *world) put(name, content string) {
	w.t.Helper()
	err := os.MkdirAll(filepath.Dir(w.at(name)), 0o755)
	if err == nil {
		err = os.WriteFile(w.at(name), []byte(content), 0o600)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) link(r layout.Role, version string) {
	w.t.Helper()
	err := os.MkdirAll(w.at(layout.RolesDir), 0o755)
	if err == nil {
		err = os.Symlink(layout.VersionDir(version), w.at(layout.RoleLink(r)))
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// lost makes the lock of a paictl that was killed, and a command that it left behind.
func (w *world) lost(token string) {
	w.t.Helper()
	w.put("/proc/7/cmdline", "sh\x00pai-restore-"+token+"\x00")
	holder, err := run.ThisProcess("v0.11", pai.VerbUpgrade)
	if err != nil {
		w.t.Fatal(err)
	}
	holder.Token, holder.PID = token, 1<<30
	data, err := json.Marshal(holder)
	if err != nil {
		w.t.Fatal(err)
	}
	w.put(run.LockFile(1), string(data))
}

// program answers for etcdctl and systemd.
func (w *world) program(_ context.Context, name string, args ...string) (string, error) {
	switch {
	case strings.HasSuffix(name, "/etcdctl"):
		return "healthy", nil
	case name == "env":
		return "  Original form: weekly\n    Next elapse: Mon 2026-11-23 00:00:00 UTC\n       Iter. #2: Mon 2026-11-30 00:00:00 UTC\n", nil
	default:
		return "", fmt.Errorf("%s: not found", name)
	}
}

// script prints what a machine prints for a backup.
func (w *world) script(ctx context.Context, text string, stdout io.Writer) error {
	w.scripts = append(w.scripts, text)
	if w.during != nil {
		w.during()
	}
	key, nonce := [32]byte{w.secretKey}, [24]byte{1}
	value := append([]byte("k8s:enc:secretbox:v1:key1:"), secretbox.Seal(nonce[:], []byte("k8s\x00x"), &nonce, &key)...)
	secret := map[string]any{"count": 1, "kvs": []any{map[string]any{"key": []byte("/registry/secrets/a/b"), "value": value}}}
	lines := []any{map[string]any{"revision": 7, "totalKey": 3}, secret}
	for range source.JobPrefixes() {
		lines = append(lines, map[string]any{})
	}
	for _, line := range lines {
		data, err := json.Marshal(line)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(stdout, "%s\n", data); err != nil {
			return err
		}
	}
	sum := sha256.Sum256([]byte("the data of etcd"))
	configured := base64.StdEncoding.EncodeToString(slices.Concat([]byte{7}, make([]byte, 31)))
	files := [][2]string{{backup.SnapshotFile, "the data of etcd" + string(sum[:])},
		{backup.EncryptionFile, "resources:\n- resources: [secrets]\n  providers:\n  - secretbox:\n      keys:\n      - name: key1\n        secret: " + configured + "\n"}}
	for _, f := range backup.AuthorityFiles() {
		files = append(files, [2]string{f, f})
	}
	archive := tar.NewWriter(stdout)
	for _, f := range files {
		err := archive.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: f[0], Size: int64(len(f[1])), Mode: 0o600})
		if err == nil {
			_, err = io.WriteString(archive, f[1])
		}
		if err != nil {
			return err
		}
	}
	return errors.Join(archive.Close(), context.Cause(ctx))
}

// made lists the backups that the operator trusts.
func (w *world) made() []backup.Found {
	w.t.Helper()
	target, err := backup.OpenTarget(w.at(w.to))
	if err != nil {
		w.t.Fatal(err)
	}
	found, err := backup.List(w.t.Context(), target, []ed25519.PublicKey{w.operator.Public().(ed25519.PublicKey)})
	if err != nil {
		w.t.Fatal(err)
	}
	return found
}

func (w *world) file(name string) string {
	w.t.Helper()
	data, err := w.read(name)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		w.t.Fatal(err)
	}
	return string(data)
}
