// Package keyring reads and changes the encryption configuration of the API server: the
// keys that encrypt Secrets before etcd stores them. The first key encrypts; all keys
// decrypt.
package keyring

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"

	apiserver "k8s.io/apiserver/pkg/apis/apiserver/v1"
	"sigs.k8s.io/yaml"

	"pai.dev/pai/internal/layout"
)

const (
	// secretBytes is the length of a key of the provider secretbox (XSalsa20 and Poly1305).
	secretBytes = 32
	// Prefix and the name of a key, with a colon behind it, begin each value that etcd
	// stores under the key (k8s.io/apiserver, secretboxTransformerPrefixV1).
	Prefix = "k8s:enc:secretbox:v1:"
)

// Ring is an encryption configuration as PAI writes it.
type Ring struct {
	config apiserver.EncryptionConfiguration
}

// Parse reads an encryption configuration. It refuses one that PAI did not write, which a
// change could damage.
func Parse(data []byte) (Ring, error) {
	var r Ring
	if err := yaml.UnmarshalStrict(data, &r.config); err != nil {
		return Ring{}, fmt.Errorf("the encryption configuration is not readable") // the cause could have a key in it
	}
	if len(r.config.Resources) != 1 || !slices.Equal(r.config.Resources[0].Resources, []string{"secrets"}) {
		return Ring{}, fmt.Errorf("the encryption configuration is not one of PAI: it is not about Secrets alone")
	}
	providers := r.config.Resources[0].Providers
	if len(providers) != 2 || providers[0].Secretbox == nil || providers[1].Identity == nil || len(providers[0].Secretbox.Keys) == 0 {
		return Ring{}, fmt.Errorf("the encryption configuration is not one of PAI: its providers are not secretbox and identity")
	}
	if n := len(providers[0].Secretbox.Keys); n > layout.MaxEncryptionKeys {
		return Ring{}, fmt.Errorf("the encryption configuration has %d keys, and PAI handles %d", n, layout.MaxEncryptionKeys)
	}
	for _, k := range providers[0].Secretbox.Keys {
		if secret, err := base64.StdEncoding.DecodeString(k.Secret); k.Name == "" || err != nil || len(secret) != secretBytes {
			return Ring{}, fmt.Errorf("the encryption key %q is not one of %d bytes", k.Name, secretBytes)
		}
	}
	return r, nil
}

func (r Ring) keys() []apiserver.Key { return r.config.Resources[0].Providers[0].Secretbox.Keys }

// Names are the names of the keys. The first one encrypts.
func (r Ring) Names() []string {
	names := []string{}
	for _, k := range r.keys() {
		names = append(names, k.Name)
	}
	return names
}

// Equal reports whether two rings have the same keys in the same order.
func (r Ring) Equal(other Ring) bool { return slices.Equal(r.keys(), other.keys()) }

// with returns the ring with other keys. Rings share nothing.
func (r Ring) with(keys []apiserver.Key) Ring {
	r.config = *r.config.DeepCopy()
	r.config.Resources[0].Providers[0].Secretbox.Keys = slices.Clone(keys)
	return r
}

// Add returns the ring with a new key of random bytes, which decrypts only. A ring that
// has the key stays as it is.
func (r Ring) Add(name string) (Ring, error) {
	if err := layout.CheckKeyName(name); err != nil {
		return r, err
	}
	if slices.Contains(r.Names(), name) {
		return r, nil
	}
	if len(r.keys()) >= layout.MaxEncryptionKeys {
		return r, fmt.Errorf("there are %d encryption keys already", layout.MaxEncryptionKeys)
	}
	secret := make([]byte, secretBytes)
	_, _ = rand.Read(secret) // never fails; see crypto/rand
	return r.with(append(slices.Clone(r.keys()), apiserver.Key{Name: name, Secret: base64.StdEncoding.EncodeToString(secret)})), nil
}

// Use returns the ring in which the named key encrypts. The others follow as before.
func (r Ring) Use(name string) (Ring, error) {
	keys := slices.Clone(r.keys())
	i := slices.IndexFunc(keys, func(k apiserver.Key) bool { return k.Name == name })
	if i < 0 {
		return r, fmt.Errorf("there is no encryption key %q", name)
	}
	first := keys[i]
	return r.with(slices.Insert(slices.Delete(keys, i, i+1), 0, first)), nil
}

// Remove returns the ring without a key. The key that encrypts cannot be removed. A ring
// that lacks the key stays as it is.
func (r Ring) Remove(name string) (Ring, error) {
	if r.Names()[0] == name {
		return r, fmt.Errorf("the encryption key %q is in use", name)
	}
	return r.with(slices.DeleteFunc(slices.Clone(r.keys()), func(k apiserver.Key) bool { return k.Name == name })), nil
}

// Marshal returns the encryption configuration. It is a secret.
func (r Ring) Marshal() ([]byte, error) {
	data, err := yaml.Marshal(r.config)
	if err != nil {
		return nil, fmt.Errorf("encode the encryption configuration: %w", err)
	}
	return data, nil
}

// Digest is what the API server reports about the file of an encryption configuration that
// it uses, in the label "hash" of apiserver_encryption_config_controller_last_config_info
// (k8s.io/apiserver, computeEncryptionConfigHash).
func Digest(file []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(file)) }
