package backup

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/nacl/secretbox"
	"sigs.k8s.io/yaml"

	"pai.dev/pai/internal/keyring"
)

// StoredSecret is a Secret as etcd stores it.
type StoredSecret struct {
	Key   string `json:"key"`
	Value []byte `json:"value"`
}

// encryption is the part of an EncryptionConfiguration that PAI writes.
type encryption struct {
	Resources []struct {
		Resources []string `json:"resources"`
		Providers []struct {
			Secretbox *struct {
				Keys []struct {
					Name   string `json:"name"`
					Secret string `json:"secret"`
				} `json:"keys"`
			} `json:"secretbox"`
		} `json:"providers"`
	} `json:"resources"`
}

const (
	storedPrefix = keyring.Prefix
	nonceSize    = 24
	keySize      = 32
)

// plainPrefix starts a stored object that is not encrypted.
var plainPrefix = []byte("k8s\x00")

// CheckKey decrypts a stored Secret with the keys of an encryption configuration
// (k8s.io/apiserver pkg/storage/value/encrypt/secretbox). It keeps and returns
// nothing of the content.
func CheckKey(configuration []byte, secret StoredSecret) error {
	var c encryption
	if err := yaml.Unmarshal(configuration, &c); err != nil {
		return errors.New("the encryption configuration cannot be read") // the error can quote it
	}
	rest, ok := bytes.CutPrefix(secret.Value, []byte(storedPrefix))
	name, box, found := bytes.Cut(rest, []byte(":"))
	if !ok || !found || len(box) < nonceSize {
		return fmt.Errorf("%s in etcd is not encrypted with a key of PAI", secret.Key)
	}
	for _, r := range c.Resources {
		for _, p := range r.Providers {
			if p.Secretbox == nil {
				continue
			}
			for _, k := range p.Secretbox.Keys {
				if k.Name == string(name) && opens(k.Secret, box) {
					return nil
				}
			}
		}
	}
	return fmt.Errorf("the encryption configuration has no key that decrypts %s in etcd", secret.Key)
}

func opens(encoded string, box []byte) bool {
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(encoded))
	if err != nil || len(raw) != keySize {
		return false
	}
	var nonce [nonceSize]byte
	copy(nonce[:], box)
	plain, ok := secretbox.Open(nil, box[nonceSize:], &nonce, (*[keySize]byte)(raw))
	return ok && bytes.HasPrefix(plain, plainPrefix)
}
