package release

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"pai.dev/pai/internal/atomicfile"
	"pai.dev/pai/internal/pai"
)

// signatureFile lies beside index.json.
const signatureFile = "signature.json"

// signatures is signature.json: any number of keys may have signed the index.
type signatures struct {
	Index      string      `json:"index"` // digest of index.json
	Signatures []signature `json:"signatures"`
}

type signature struct {
	PublicKey string `json:"publicKey"` // EncodePublicKey
	Signature []byte `json:"signature"` // Ed25519 over signedText of the index's digest
}

// signedText is what is signed. The prefix keeps a signature from meaning
// anything elsewhere.
func signedText(indexDigest string) []byte { return []byte("pai.dev bundle v1\n" + indexDigest + "\n") }

// sign adds a signature to the bundle in dir, whose index has this digest.
// Those of other keys stay if they are of the same index.
func sign(dir, indexDigest string, key ed25519.PrivateKey) error {
	public := EncodePublicKey(key.Public().(ed25519.PublicKey))
	kept, err := readSignatures(dir)
	if err != nil || kept.Index != indexDigest {
		kept = signatures{Index: indexDigest}
	}
	added := signatures{Index: indexDigest}
	for _, s := range kept.Signatures {
		if s.PublicKey != public {
			added.Signatures = append(added.Signatures, s)
		}
	}
	added.Signatures = append(added.Signatures, signature{PublicKey: public, Signature: ed25519.Sign(key, signedText(indexDigest))})
	data, err := json.MarshalIndent(added, "", "  ")
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
		return s, errors.New("it is not signed: there is no " + signatureFile)
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
		return notVerified(b.dir, fmt.Errorf("index.json has digest %s, but %s was signed", b.digest, s.Index))
	}
	var signers []string
	for _, one := range s.Signatures {
		signers = append(signers, one.PublicKey)
		signer, err := DecodePublicKey(one.PublicKey)
		if err != nil || !trusts(trusted, signer) {
			continue
		}
		if !ed25519.Verify(signer, signedText(b.digest), one.Signature) {
			return notVerified(b.dir, fmt.Errorf("the signature is not one of key %s", one.PublicKey))
		}
		b.signer = one.PublicKey
		return nil
	}
	return &pai.Error{Code: pai.CodeRefused, Message: fmt.Sprintf("bundle %s is refused", b.dir),
		Err:  fmt.Errorf("it is signed by %s, which is not trusted", strings.Join(signers, " and ")),
		Next: "if you trust whoever has this key, add it to cluster.common.trusted-bundle-keys, or give it with --key; where PAI's source is, `paictl release build` signs it with yours"}
}

func trusts(trusted []ed25519.PublicKey, signer ed25519.PublicKey) bool {
	for _, key := range trusted {
		if bytes.Equal(key, signer) {
			return true
		}
	}
	return false
}
