package backup

import (
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"pai.dev/pai/internal/release"
)

// Permission is the statement of an operator that the key of a machine signs backups of
// a cluster. A reader that trusts the operator trusts those backups. The machine adds
// its permissions to each signature.
type Permission struct {
	ClusterID string    `json:"clusterId"`
	PublicKey string    `json:"publicKey"` // of the machine
	At        time.Time `json:"at"`
	Operator  string    `json:"operator"` // public key of the operator
	Signature []byte    `json:"signature"`
}

// maxPermissions is how many operators can permit a machine.
const maxPermissions = 32

// Permit signs a permission with the key of an operator.
func Permit(clusterID, machine string, at time.Time, operator ed25519.PrivateKey) Permission {
	p := Permission{ClusterID: clusterID, PublicKey: machine, At: at.UTC().Truncate(time.Second),
		Operator: release.EncodePublicKey(operator.Public().(ed25519.PublicKey))}
	p.Signature = ed25519.Sign(operator, p.text())
	return p
}

// text is what is signed. No signature of a bundle or of a backup has its first line.
func (p Permission) text() []byte {
	return fmt.Appendf(nil, "pai.dev backup permission v1\n%q\n%q\n%s\n", p.ClusterID, p.PublicKey, p.At.UTC().Format(time.RFC3339))
}

// By reports whether the permission for a key and a cluster is signed by one of the
// operators.
func (p Permission) By(operators []ed25519.PublicKey, clusterID, machine string) bool {
	if p.ClusterID != clusterID || p.PublicKey != machine {
		return false
	}
	return slices.ContainsFunc(operators, func(k ed25519.PublicKey) bool {
		return release.EncodePublicKey(k) == p.Operator && ed25519.Verify(k, p.text(), p.Signature)
	})
}

// AddPermission adds a permission to those of its machine. It drops the earlier one of
// the operator, and those of another cluster or key.
func AddPermission(all []Permission, p Permission) []Permission {
	kept := slices.DeleteFunc(slices.Clone(all), func(o Permission) bool {
		return o.Operator == p.Operator || o.ClusterID != p.ClusterID || o.PublicKey != p.PublicKey
	})
	return append(kept[max(0, len(kept)-maxPermissions+1):], p)
}

// ReadPermissions reads the file of permissions of a machine.
func ReadPermissions(data []byte) ([]Permission, error) {
	var all []Permission
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, fmt.Errorf("read the permissions to sign backups: %w", err)
	}
	return all, nil
}

// WritePermissions is the inverse of ReadPermissions.
func WritePermissions(all []Permission) ([]byte, error) {
	data, err := json.MarshalIndent(all, "", "  ")
	return append(data, '\n'), err
}

// signer is who signed a manifest.
type signer struct {
	key string // public key
	// permitted is set if a trusted operator permitted the key, and the key itself is
	// not trusted.
	permitted bool
}

// trust finds the first signature whose key is trusted, or permitted for the cluster.
func (s signatures) trust(clusterID string, trusted []ed25519.PublicKey) (one signature, by signer, err error) {
	var keys []string
	for _, one := range s.Signatures {
		key, err := release.DecodePublicKey(one.PublicKey)
		if err != nil {
			continue
		}
		keys = append(keys, one.PublicKey)
		if slices.ContainsFunc(trusted, func(k ed25519.PublicKey) bool { return k.Equal(key) }) {
			return one, signer{key: one.PublicKey}, nil
		}
		if slices.ContainsFunc(s.Permissions, func(p Permission) bool { return p.By(trusted, clusterID, one.PublicKey) }) {
			return one, signer{one.PublicKey, true}, nil
		}
	}
	if len(keys) == 0 {
		return one, by, fmt.Errorf("%w: %s has no signature", errSignature, signatureFile)
	}
	return one, by, fmt.Errorf("%w: signed only by unknown keys: %s", errSignature, strings.Join(keys, ", "))
}
