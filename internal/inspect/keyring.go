package inspect

import (
	"context"
	"fmt"

	"pai.dev/pai/internal/atomicfile"
	"pai.dev/pai/internal/keyring"
	"pai.dev/pai/internal/layout"
)

// KeyChange is a change of a key that encrypts Secrets. Keys are made on the machine, and
// no report has one.
type KeyChange struct {
	Name string    `json:"name"`
	Do   KeyAction `json:"do"`
}

// KeyAction is what is done to a key.
type KeyAction string

// The actions. A key that is as the action leaves it stays as it is.
const (
	KeyAdd    KeyAction = "add"    // a new key, which decrypts only
	KeyUse    KeyAction = "use"    // the key encrypts
	KeyRemove KeyAction = "remove" // the key is deleted
)

// Keys are the names of the keys that encrypt Secrets.
type Keys struct {
	// Names are in the order of the file: the first one encrypts.
	Names []string `json:"names"`
	// Digest is that of the file, as an API server reports it; see keyring.Digest.
	Digest string `json:"digest"`
}

// keyring changes a key, if that is requested, and reports the names of all.
func (i *inspection) keyring(context.Context) error {
	data, err := i.read(layout.EncryptionFile)
	if err != nil {
		return err
	}
	ring, err := keyring.Parse(data)
	if err != nil {
		return fmt.Errorf("%s: %w", layout.EncryptionFile, err)
	}
	if change := i.request.Key; change != nil {
		if data, ring, err = i.changeKey(data, ring, *change); err != nil {
			return fmt.Errorf("%s the encryption key %s: %w", change.Do, change.Name, err)
		}
	}
	i.report.Keyring = &Keys{Names: ring.Names(), Digest: keyring.Digest(data)}
	return nil
}

// changeKey writes the file only if the change changes it: the API server would read the
// same keys again.
func (i *inspection) changeKey(data []byte, ring keyring.Ring, change KeyChange) ([]byte, keyring.Ring, error) {
	actions := map[KeyAction]func(string) (keyring.Ring, error){KeyAdd: ring.Add, KeyUse: ring.Use, KeyRemove: ring.Remove}
	act := actions[change.Do]
	if act == nil {
		return nil, ring, fmt.Errorf("unknown action")
	}
	next, err := act(change.Name)
	if err != nil || next.Equal(ring) {
		return data, ring, err
	}
	if data, err = next.Marshal(); err != nil {
		return nil, ring, err
	}
	return data, next, i.plain(atomicfile.Write(i.at(layout.EncryptionFile), data, 0o600))
}
