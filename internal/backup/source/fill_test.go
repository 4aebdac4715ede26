package source_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"golang.org/x/crypto/nacl/secretbox"

	"pai.dev/pai/internal/backup"
	"pai.dev/pai/internal/backup/source"
)

// machineWith answers a backup as a machine does, with the Secret encrypted by a key.
func machineWith(configured, used byte) source.Reader {
	snapshot := []byte("the data of etcd")
	sum := sha256Of(snapshot)
	key, nonce := [32]byte{used}, [24]byte{1}
	encoded := base64.StdEncoding.EncodeToString(slices.Concat([]byte{configured}, make([]byte, 31)))
	files := map[string]string{
		backup.SnapshotFile:   string(snapshot) + sum,
		backup.EncryptionFile: "resources:\n- resources: [secrets]\n  providers:\n  - secretbox:\n      keys:\n      - name: key1\n        secret: " + encoded + "\n",
	}
	for _, f := range backup.AuthorityFiles() {
		files[f] = f
	}
	return func(facts func(source.Facts) error, file func(string, int64, io.Reader) error) error {
		value := append([]byte("k8s:enc:secretbox:v1:key1:"), secretbox.Seal(nonce[:], []byte("k8s\x00x"), &nonce, &key)...)
		err := facts(source.Facts{Revision: 7, Keys: 3, Secrets: 1, SecretKey: "/registry/secrets/a/b", SecretValue: value, Jobs: map[string][]byte{}})
		for _, name := range slices.Sorted(maps.Keys(files)) {
			err = errors.Join(err, file(name, int64(len(files[name])), strings.NewReader(files[name])))
		}
		return err
	}
}

// A backup whose key does not decrypt its Secrets is none, whatever else it has.
func TestBackupDecryptsASecretBeforeItCounts(t *testing.T) {
	t.Parallel()
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	public, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		configured, used byte
		ok               bool
	}{{7, 7, true}, {7, 8, false}} {
		target, err := backup.OpenTarget(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		m := backup.Manifest{Name: backup.NameOf("lab", time.Now()), ClusterID: "lab", Kubernetes: "v0.11-pai"}
		m, err = backup.Write(t.Context(), target, m, backup.Options{Recipients: []string{identity.Recipient().String()}, Key: key},
			func(w *backup.Writer, m *backup.Manifest) error {
				return source.Fill(w, m, time.Now, machineWith(c.configured, c.used))
			})
		if (err == nil) != c.ok {
			t.Errorf("key %d, Secret by key %d: got %v, want success %t", c.configured, c.used, err, c.ok)
		}
		found, err := backup.List(t.Context(), target, []ed25519.PublicKey{public})
		if err != nil || len(found) == 1 != c.ok {
			t.Errorf("key %d, Secret by key %d: got %d backups, %v", c.configured, c.used, len(found), err)
		}
		if c.ok && (m.Etcd.Revision != 7 || m.Etcd.Secrets != 1 || m.Taken.IsZero()) {
			t.Errorf("got manifest %+v, want the facts of the snapshot", m)
		}
		if c.ok {
			if err := backup.Verify(t.Context(), target, m, []age.Identity{identity}); err != nil {
				t.Error(err)
			}
		}
	}
}

// A machine that ends in the middle leaves no backup.
func TestBackupOfALostMachine(t *testing.T) {
	t.Parallel()
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	target, err := backup.OpenTarget(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	lost := errors.New("the connection was lost")
	m := backup.Manifest{Name: backup.NameOf("lab", time.Now()), ClusterID: "lab", Kubernetes: "v0.11-pai"}
	_, err = backup.Write(t.Context(), target, m, backup.Options{Recipients: []string{identity.Recipient().String()}, Key: key},
		func(w *backup.Writer, m *backup.Manifest) error {
			return source.Fill(w, m, time.Now, func(_ func(source.Facts) error, file func(string, int64, io.Reader) error) error {
				return file(backup.SnapshotFile, 100, io.MultiReader(bytes.NewReader(make([]byte, 10)), failingReader{lost}))
			})
		})
	if !errors.Is(err, lost) {
		t.Errorf("got %v, want %v", err, lost)
	}
}

func sha256Of(data []byte) string {
	sum := sha256.Sum256(data)
	return string(sum[:])
}

type failingReader struct{ err error }

func (r failingReader) Read([]byte) (int, error) { return 0, r.err }
