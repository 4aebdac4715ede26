package release

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"pai.dev/pai/internal/atomicfile"
	"pai.dev/pai/internal/pai"
)

// signatureFile lies beside index.json.
const signatureFile = "signature.json"

// maxSignatures bounds signature.json, which is read before anything is trusted.
const maxSignatures = 1 << 20

// signatures is signature.json: any number of keys can sign the index.
type signatures struct {
	Index      string      `json:"index"` // digest of index.json
	Signatures []signature `json:"signatures"`
}

type signature struct {
	PublicKey string `json:"publicKey"` // EncodePublicKey
	Signature []byte `json:"signature"` // Ed25519 over signedText of the index's digest
}

// valid reports whether the key that the signature names has made it over an
// index.
func (s signature) valid(indexDigest string) bool {
	key, err := DecodePublicKey(s.PublicKey)
	return err == nil && ed25519.Verify(key, signedText(indexDigest), s.Signature)
}

// has reports whether a key has a signature.
func (s signatures) has(key string) bool {
	return slices.ContainsFunc(s.Signatures, func(one signature) bool { return one.PublicKey == key })
}

// signedText is what is signed. The prefix makes a signature useless elsewhere.
func signedText(indexDigest string) []byte { return []byte("pai.dev bundle v1\n" + indexDigest + "\n") }

// sign adds a signature to the bundle in dir, whose index has this digest.
// Signatures of other keys over the same index stay.
func sign(dir, indexDigest string, key ed25519.PrivateKey) error {
	return addSignatures(dir, indexDigest, signature{
		PublicKey: EncodePublicKey(key.Public().(ed25519.PublicKey)),
		Signature: ed25519.Sign(key, signedText(indexDigest)),
	})
}

// addSignatures adds signatures to the bundle in dir, whose index has this
// digest. They replace those of the same keys.
func addSignatures(dir, indexDigest string, added ...signature) error {
	s, err := readSignatures(dir)
	if err != nil || s.Index != indexDigest {
		s = signatures{Index: indexDigest}
	}
	for _, a := range added {
		s.Signatures = slices.DeleteFunc(s.Signatures, func(one signature) bool { return one.PublicKey == a.PublicKey })
	}
	s.Signatures = append(s.Signatures, added...)
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
	return readSignaturesIn(dirStore(dir))
}

func readSignaturesIn(files store) (signatures, error) {
	var s signatures
	data, err := readAll(files, signatureFile, maxSignatures)
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
	s, err := readSignaturesIn(b.files)
	if err != nil {
		return notVerified(b.dir, err)
	}
	if s.Index != b.digest {
		return notVerified(b.dir, fmt.Errorf("index.json has digest %s, but %s is signed", b.digest, s.Index))
	}
	var signers []string
	for _, one := range s.Signatures {
		signer, err := DecodePublicKey(one.PublicKey)
		if err == nil {
			signers = append(signers, one.PublicKey)
		}
		if err != nil || !slices.ContainsFunc(trusted, func(k ed25519.PublicKey) bool { return k.Equal(signer) }) {
			continue
		}
		if !one.valid(b.digest) {
			return notVerified(b.dir, fmt.Errorf("wrong signature of key %s", one.PublicKey))
		}
		b.signer = one.PublicKey
		return nil
	}
	if len(signers) == 0 {
		return notVerified(b.dir, errors.New("not signed: "+signatureFile+" has no signature"))
	}
	return &pai.Error{Code: pai.CodeRefused, Message: fmt.Sprintf("bundle %s is refused", b.dir),
		Err:  fmt.Errorf("signed by the untrusted key %s", someOf(signers)),
		Next: "if you trust the owner of this key, add it to cluster.common.trusted-bundle-keys, or pass it with --key; to sign the bundle with your own key in PAI's source tree, run: paictl release build"}
}

// someOf lists the newest signers, which are last. A cache that many hosts share has
// dozens.
func someOf(signers []string) string {
	const shown = 2
	if more := len(signers) - shown; more > 0 {
		return fmt.Sprintf("%s and %d others", strings.Join(signers[more:], ", "), more)
	}
	return strings.Join(signers, " and ")
}
