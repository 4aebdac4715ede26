package s3_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"filippo.io/age"

	"pai.dev/pai/internal/backup"
	"pai.dev/pai/internal/backup/s3"
	"pai.dev/pai/test/s3test"
)

var taken = time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)

// world is a bucket with the keys of an operator.
type world struct {
	server   s3test.Server
	target   backup.Target
	identity *age.X25519Identity
	key      ed25519.PrivateKey
	trusted  []ed25519.PublicKey
}

func newWorld(t *testing.T) world {
	t.Helper()
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	public, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	w := world{server: s3test.Start(t, "", "", ""), identity: identity, key: key, trusted: []ed25519.PublicKey{public}}
	w.target = w.open(t, "s3://"+s3test.Bucket+"/pai/lab")
	return w
}

func (w world) open(t *testing.T, name string) backup.Target {
	t.Helper()
	target, err := s3.Open(name, backup.S3{Endpoint: w.server.URL}, s3.NewCredentials(s3test.Key, s3test.Secret))
	if err != nil {
		t.Fatal(err)
	}
	return target
}

func manifestAt(at time.Time) backup.Manifest {
	return backup.Manifest{Name: backup.NameOf("lab", at), ClusterID: "lab", Taken: at, Machine: "pai-1", Kubernetes: "v0.11-pai", Bundles: []backup.Bundle{}}
}

const snapshot = "state/of/the/test"

// write makes a backup with a file of a size.
func (w world) write(ctx context.Context, t *testing.T, at time.Time, size int64) backup.Manifest {
	t.Helper()
	m, err := backup.Write(ctx, w.target, manifestAt(at), backup.Options{Recipients: []string{w.identity.Recipient().String()}, Key: w.key},
		func(c *backup.Writer, _ *backup.Manifest) error { return c.Add(snapshot, size, noise()) })
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// noise is the same endless content each time.
func noise() io.Reader { return mathrand.NewChaCha8([32]byte{1}) }

// names are those of the usable backups, the newest first, and of those that are not.
func (w world) names(t *testing.T) (usable, others []string) {
	t.Helper()
	found, err := backup.List(t.Context(), w.target, w.trusted)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		if f.Usable() {
			usable = append(usable, f.Name)
		} else {
			others = append(others, f.Name)
		}
	}
	return usable, others
}

// files are the keys of all objects in the bucket.
func (w world) files(t *testing.T) (keys []string) {
	t.Helper()
	err := filepath.WalkDir(w.server.Dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			key, failed := filepath.Rel(w.server.Dir, path)
			keys, err = append(keys, key), failed
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(keys, func(k string) bool { return k[0] == '.' }) // of the server
}

func (w world) put(t *testing.T, key, content string) {
	t.Helper()
	file := filepath.Join(w.server.Dir, key)
	err := os.MkdirAll(filepath.Dir(file), 0o755)
	if err == nil {
		err = os.WriteFile(file, []byte(content), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// certificate writes a certificate for 127.0.0.1 that signs itself, and its key.
func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, kind string, data []byte) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data}), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	return write("cert.pem", "CERTIFICATE", der), write("key.pem", "PRIVATE KEY", encoded)
}
