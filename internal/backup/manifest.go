package backup

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/release"
)

// Format is the form of the backups that this release writes.
const Format = "pai.dev/backup/v1"

// The objects of a backup. The manifest is written last.
const (
	contentFile   = "content.age"
	signatureFile = "signature.json"
	manifestFile  = "manifest.json"
)

// maxManifest bounds manifest.json and signature.json.
const maxManifest = 1 << 20

// Manifest describes a backup. It is not encrypted, and has no secrets.
type Manifest struct {
	Format    string    `json:"format"`
	Name      string    `json:"name"`
	ClusterID string    `json:"clusterId"`
	Taken     time.Time `json:"taken"`
	// Machine is the control-plane machine that was backed up.
	Machine string `json:"machine"`
	// Paictl is the version of paictl that made the backup.
	Paictl     string                `json:"paictl"`
	Kubernetes pai.KubernetesVersion `json:"kubernetes"`
	Services   pai.ServicesVersion   `json:"services,omitempty"`
	// Bundles are the bundles that the cluster needs. They are not in the backup.
	Bundles []Bundle `json:"bundles"`
	// Recipients are the public keys that the content is encrypted to.
	Recipients []string `json:"recipients"`
	Etcd       Etcd     `json:"etcd"`
	Content    Content  `json:"content"`
}

// Bundle names a bundle by its release and digest.
type Bundle struct {
	Release pai.Release `json:"release"`
	Digest  string      `json:"digest"`
}

// Etcd is what the snapshot of etcd held when it was served for its verification.
type Etcd struct {
	Revision int64 `json:"revision"`
	Keys     int64 `json:"keys"`
	Secrets  int64 `json:"secrets"`
	Jobs     int   `json:"jobs"`
}

// Content identifies content.age.
type Content struct {
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// signatures is signature.json.
type signatures struct {
	Manifest   string      `json:"manifest"` // sha256 of manifest.json
	Signatures []signature `json:"signatures"`
	// Permissions are those of the keys that are not of operators.
	Permissions []Permission `json:"permissions,omitempty"`
}

type signature struct {
	PublicKey string `json:"publicKey"`
	Signature []byte `json:"signature"` // Ed25519 over signedText
}

// signedText is what is signed. The prefix makes a signature of a bundle useless
// here, and one of a backup useless there.
func signedText(digest string) []byte { return []byte("pai.dev backup v1\n" + digest + "\n") }

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// sign returns the content of signature.json for a manifest.
func sign(manifest []byte, o Options) ([]byte, error) {
	digest := digestOf(manifest)
	return json.MarshalIndent(signatures{Manifest: digest, Permissions: o.Permissions, Signatures: []signature{{
		PublicKey: release.EncodePublicKey(o.Key.Public().(ed25519.PublicKey)),
		Signature: ed25519.Sign(o.Key, signedText(digest)),
	}}}, "", "  ")
}

// errSignature wraps why a manifest is not trusted.
var errSignature = errors.New("not trusted")

// checkSignature returns who signed the manifest, or an error unless one of the trusted
// keys did, or a key that one of them permitted.
func checkSignature(manifest, signed []byte, trusted []ed25519.PublicKey) (signer, error) {
	var s signatures
	if err := json.Unmarshal(signed, &s); err != nil {
		return signer{}, fmt.Errorf("%w: read %s: %w", errSignature, signatureFile, err)
	}
	digest := digestOf(manifest)
	if s.Manifest != digest {
		return signer{}, fmt.Errorf("%w: %s has the sha256 %s, but %s is signed", errSignature, manifestFile, digest, s.Manifest)
	}
	var about struct {
		ClusterID string `json:"clusterId"`
	}
	if err := json.Unmarshal(manifest, &about); err != nil {
		return signer{}, fmt.Errorf("%w: read %s: %w", errSignature, manifestFile, err)
	}
	one, by, err := s.trust(about.ClusterID, trusted)
	if err != nil {
		return signer{}, err
	}
	key, err := release.DecodePublicKey(one.PublicKey)
	if err != nil {
		return signer{}, fmt.Errorf("%w: %w", errSignature, err)
	}
	if !ed25519.Verify(key, signedText(digest), one.Signature) {
		return signer{}, fmt.Errorf("%w: wrong signature of key %s", errSignature, one.PublicKey)
	}
	return by, nil
}

// decodeManifest reads a manifest of a format that this release knows.
func decodeManifest(name string, data []byte) (Manifest, error) {
	var m Manifest
	var head struct {
		Format string `json:"format"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return m, fmt.Errorf("read %s: %w", manifestFile, err)
	}
	if head.Format != Format {
		return m, pai.Errorf(pai.CodeRefused, "install the release that made the backup, or a newer one",
			"the backup has the format %q, and this paictl reads %q", head.Format, Format)
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&m); err != nil {
		return m, fmt.Errorf("read %s: %w", manifestFile, err)
	}
	switch {
	case m.Name != name:
		return m, fmt.Errorf("%s names the backup %q, but it is in %q", manifestFile, m.Name, name)
	case m.ClusterID == "" || m.Kubernetes == "" || m.Taken.IsZero():
		return m, fmt.Errorf("%s has no cluster, no version of Kubernetes, or no time", manifestFile)
	case m.Content.Size <= 0 || m.Content.Size > maxContent:
		return m, fmt.Errorf("%s names a content of %d bytes; the limit is %d", manifestFile, m.Content.Size, int64(maxContent))
	}
	return m, pai.CheckVersion(m.Kubernetes)
}

// nameTime is how the name of a backup has the time.
const nameTime = "20060102T150405Z"

var nameForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,80}[a-z0-9])?-\d{8}t\d{6}z$`)

// NameOf is the name of the backup of a cluster that is taken at a time.
func NameOf(clusterID string, at time.Time) string {
	return clusterID + "-" + strings.ToLower(at.UTC().Format(nameTime))
}

// isName reports whether NameOf can return a name.
func isName(name string) bool { return nameForm.MatchString(name) }
