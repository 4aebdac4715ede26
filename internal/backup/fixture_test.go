package backup_test

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"golang.org/x/crypto/nacl/secretbox"

	"pai.dev/pai/internal/backup"
)

// world is a directory of backups, with the keys of an operator.
type world struct {
	dir      string
	target   backup.Target
	identity *age.X25519Identity
	key      ed25519.PrivateKey
	trusted  []ed25519.PublicKey
}

func newWorld(t *testing.T) world {
	t.Helper()
	dir := t.TempDir()
	target, err := backup.OpenTarget(dir)
	if err != nil {
		t.Fatal(err)
	}
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	public, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return world{dir, target, identity, key, []ed25519.PublicKey{public}}
}

func (w world) identities() []age.Identity { return []age.Identity{w.identity} }

var taken = time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)

func manifestAt(at time.Time) backup.Manifest {
	return backup.Manifest{Name: backup.NameOf("lab", at), ClusterID: "lab", Taken: at, Machine: "pai-1", Kubernetes: "v0.11-pai", Bundles: []backup.Bundle{}}
}

// snapshotOf is a file that ends as a snapshot of etcd does.
func snapshotOf(content string) string {
	sum := sha256.Sum256([]byte(content))
	return content + string(sum[:])
}

// encryptionOf is an encryption configuration as PAI writes it.
func encryptionOf(key [32]byte) string {
	return `kind: EncryptionConfiguration
resources:
- resources: [secrets]
  providers:
  - secretbox:
      keys:
      - name: key1
        secret: ` + base64.StdEncoding.EncodeToString(key[:]) + `
  - identity: {}
`
}

func storedSecret(key [32]byte) string {
	nonce := [24]byte{1}
	value := append([]byte("k8s:enc:secretbox:v1:key1:"), secretbox.Seal(nonce[:], []byte("k8s\x00content"), &nonce, &key)...)
	data, err := json.Marshal(backup.StoredSecret{Key: "/registry/secrets/pai-system/one", Value: value})
	if err != nil {
		panic(err)
	}
	return string(data)
}

// contentOf are the files of a backup that can be restored.
func contentOf() map[string]string {
	key := [32]byte{7}
	files := map[string]string{
		backup.SnapshotFile: snapshotOf("the data of etcd"), backup.EncryptionFile: encryptionOf(key), backup.SecretFile: storedSecret(key),
		backup.JobsFile: "[]", "state/operations/1.json": `{"id":"1"}`,
	}
	for _, f := range backup.AuthorityFiles() {
		files[f] = "content of " + f
	}
	return files
}

func (w world) write(ctx context.Context, m backup.Manifest, files map[string]string) (backup.Manifest, error) {
	return backup.Write(ctx, w.target, m, backup.Options{Recipients: []string{w.identity.Recipient().String()}, Key: w.key},
		func(c *backup.Writer, m *backup.Manifest) error {
			m.Etcd.Secrets = 1
			for name, text := range files {
				if err := c.Add(name, int64(len(text)), strings.NewReader(text)); err != nil {
					return err
				}
			}
			return nil
		})
}

func (w world) mustWrite(t *testing.T, m backup.Manifest) backup.Manifest {
	t.Helper()
	m, err := w.write(t.Context(), m, contentOf())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// read returns the files of a backup.
func (w world) read(ctx context.Context, m backup.Manifest) (map[string]string, error) {
	files := map[string]string{}
	err := backup.Read(ctx, w.target, m, w.identities(), func(name string, _ int64, from io.Reader) error {
		data, err := io.ReadAll(from)
		files[name] = string(data)
		return err
	})
	return files, err
}
