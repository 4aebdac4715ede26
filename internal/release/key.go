package release

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"pai.dev/pai/internal/atomicfile"
	"pai.dev/pai/internal/pai"
)

// EnsureKey returns the signing key in file. If the file does not exist, it
// makes a key that only its owner can read, and <file>.pub with the public half.
func EnsureKey(file string) (ed25519.PrivateKey, error) {
	key, err := LoadKey(file)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return nil, fmt.Errorf("make directory for the bundle key: %w", err)
	}
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make bundle key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode bundle key: %w", err)
	}
	if err := atomicfile.Create(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		if errors.Is(err, fs.ErrExist) { // made by another process
			return LoadKey(file)
		}
		return nil, fmt.Errorf("store bundle key: %w", err)
	}
	if err := os.WriteFile(file+".pub", []byte(EncodePublicKey(public)+"\n"), 0o644); err != nil {
		return nil, fmt.Errorf("store public bundle key: %w", err)
	}
	return key, nil
}

// LoadKey reads a signing key: Ed25519, PKCS #8, PEM.
func LoadKey(file string) (ed25519.PrivateKey, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read bundle key: %w", err)
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, pai.Errorf(pai.CodeInvalid, "name a file with an Ed25519 key in PEM form", "bundle key %s is not in PEM form", file)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	key, ok := parsed.(ed25519.PrivateKey)
	if err != nil || !ok {
		return nil, pai.Errorf(pai.CodeInvalid, "name a file with an Ed25519 key in PEM form", "bundle key %s is not an Ed25519 private key", file)
	}
	return key, nil
}

// EncodePublicKey encodes a public key for cluster.common.trusted-bundle-keys.
func EncodePublicKey(key ed25519.PublicKey) string { return base64.StdEncoding.EncodeToString(key) }

// DecodePublicKey is the inverse of EncodePublicKey.
func DecodePublicKey(s string) (ed25519.PublicKey, error) {
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(s))
	if err != nil || len(raw) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("%q is not an Ed25519 public key in base64", s)
	}
	return raw, nil
}
