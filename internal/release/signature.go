package release

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"pai.dev/pai/internal/atomicfile"
	"pai.dev/pai/internal/pai"
)

// signatureFile lies beside index.json.
const signatureFile = "signature.json"

// signatures is signature.json: any number of keys can sign the index.
type signatures struct {
	Index      string      `json:"index"` // digest of index.json
	Signatures []signature `json:"signatures"`
}

type signature struct {
	PublicKey string `json:"publicKey"` // EncodePublicKey
	Signature []byte `json:"signature"` // Ed25519 over signedText of the index's digest
}

// signedText is what is signed. The prefix makes a signature useless elsewhere.
func signedText(indexDigest string) []byte { return []byte("pai.dev bundle v1\n" + indexDigest + "\n") }

// sign adds a signature to the bundle in dir, whose index has this digest.
// Signatures of other keys over the same index stay.
func sign(dir, indexDigest string, key ed25519.PrivateKey) error {
	public := EncodePublicKey(key.Public().(ed25519.PublicKey))
	s, err := readSignatures(dir)
	if err != nil || s.Index != indexDigest {
		s = signatures{Index: indexDigest}
	}
	s.Signatures = slices.DeleteFunc(s.Signatures, func(one signature) bool { return one.PublicKey == public })
	s.Signatures = append(s.Signatures, signature{PublicKey: public, Signature: ed25519.Sign(key, signedText(indexDigest))})
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	if err := atomicfile.Write(filepath.Join(dir, signatureFile), append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("write signature: %w", err)
	}
	return nil
}

func readSignatures(dir string) (signatures, error) {
	var s signatures
	data, err := os.ReadFile(filepath.Join(dir, signatureFile))
	if errors.Is(err, fs.ErrNotExist) {
		return s, errors.New("not signed: " + signatureFile + " not found")
	}
	if err != nil {
		return s, fmt.Errorf("read signatures: %w", err)
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return s, fmt.Errorf("read %s: %w", signatureFile, err)
	}
	return s, nil
}

// checkSignature finds a signature of one of the trusted keys over the index.
func (b *Bundle) checkSignature(trusted []ed25519.PublicKey) error {
	s, err := readSignatures(b.dir)
	if err != nil {
		return notVerified(b.dir, err)
	}
	if s.Index != b.digest {
		return notVerified(b.dir, fmt.Errorf("index.json has digest %s, but %s is signed", b.digest, s.Index))
	}
	var signers []string
	for _, one := range s.Signatures {
		signers = append(signers, one.PublicKey)
		signer, err := DecodePublicKey(one.PublicKey)
		if err != nil || !slices.ContainsFunc(trusted, func(k ed25519.PublicKey) bool { return k.Equal(signer) }) {
			continue
		}
		if !ed25519.Verify(signer, signedText(b.digest), one.Signature) {
			return notVerified(b.dir, fmt.Errorf("wrong signature of key %s", one.PublicKey))
		}
		b.signer = one.PublicKey
		return nil
	}
	return &pai.Error{Code: pai.CodeRefused, Message: fmt.Sprintf("bundle %s is refused", b.dir),
		Err:  fmt.Errorf("signed by the untrusted key %s", strings.Join(signers, " and ")),
		Next: "if you trust the owner of this key, add it to cluster.common.trusted-bundle-keys, or pass it with --key; to sign the bundle with your own key in PAI's source tree, run: paictl release build"}
}
