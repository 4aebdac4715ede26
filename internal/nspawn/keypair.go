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
		private, public, err := newKeyPair("pai")
		if err != nil {
			return nil, err
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return nil, fmt.Errorf("create the directory of keys: %w", err)
		}
		if err := writeFile(path+".pub", ssh.MarshalAuthorizedKey(public), 0o644); err != nil {
			return nil, fmt.Errorf("write the ssh key %s: %w", path, err)
		}
		if err := writeFile(path, private, 0o600); err != nil {
			return nil, fmt.Errorf("write the ssh key %s: %w", path, err)
		}
		return public, nil
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

func newKeyPair(comment string) (private []byte, public ssh.PublicKey, err error) {
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("generate an ssh key: %w", err)
	}
	block, err := ssh.MarshalPrivateKey(priv, comment)
	if err != nil {
		return nil, nil, fmt.Errorf("generate an ssh key: %w", err)
	}
	public, err = ssh.NewPublicKey(pub)
	if err != nil {
		return nil, nil, fmt.Errorf("generate an ssh key: %w", err)
	}
	return pem.EncodeToMemory(block), public, nil
}
