package nspawn

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/crypto/ssh"
)

// ensureKeyPair returns the public half of an ssh key, which it creates if it is
// missing.
func ensureKeyPair(path string) (ssh.PublicKey, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return createKeyPair(path)
	}
	if err != nil {
		return nil, fmt.Errorf("read the ssh key: %w", err)
	}
	signer, err := ssh.ParsePrivateKey(data)
	if err != nil {
		return nil, fmt.Errorf("read the ssh key %s: %w", path, err)
	}
	return signer.PublicKey(), nil
}

func createKeyPair(path string) (ssh.PublicKey, error) {
	private, public, err := newKeyPair("pai")
	if err == nil {
		err = os.MkdirAll(filepath.Dir(path), 0o700)
	}
	if err == nil {
		err = writeFile(path+".pub", ssh.MarshalAuthorizedKey(public), 0o644)
	}
	if err == nil {
		err = writeFile(path, private, 0o600)
	}
	if err != nil {
		return nil, fmt.Errorf("create the ssh key %s: %w", path, err)
	}
	return public, nil
}

func newKeyPair(comment string) (private []byte, public ssh.PublicKey, err error) {
	raw, secret, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	block, err := ssh.MarshalPrivateKey(secret, comment)
	if err != nil {
		return nil, nil, err
	}
	public, err = ssh.NewPublicKey(raw)
	return pem.EncodeToMemory(block), public, err
}
