package backup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"filippo.io/age"

	"pai.dev/pai/internal/pai"
)

// Recipients reads public keys of the form age1….
func Recipients(keys []string) ([]age.Recipient, error) {
	const make = "make a key pair with age-keygen, keep the private key off the cluster, and pass the public key with --recipient"
	if len(keys) == 0 {
		return nil, pai.Errorf(pai.CodeUsage, make, "no recipient can read the backup")
	}
	var recipients []age.Recipient
	for _, k := range keys {
		if strings.HasPrefix(strings.ToUpper(k), "AGE-SECRET-KEY-") { // never repeat it
			return nil, pai.Errorf(pai.CodeUsage, "pass the public key, age1…, and keep the private key off the cluster", "a recipient is a private key")
		}
		r, err := age.ParseX25519Recipient(k)
		if err != nil {
			return nil, pai.Errorf(pai.CodeUsage, make, "recipient %q is not an X25519 public key of age", k)
		}
		recipients = append(recipients, r)
	}
	return recipients, nil
}

// Identities reads a file of private keys, as age-keygen writes it.
func Identities(file string) ([]age.Identity, error) {
	const next = "pass the file that age-keygen wrote with --identity"
	if file == "" {
		return nil, pai.Errorf(pai.CodeUsage, next, "no private key to decrypt the backup is given")
	}
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, pai.Errorf(pai.CodeUsage, next, "identity file %s not found", file)
	}
	if err != nil {
		return nil, fmt.Errorf("read the identity: %w", err)
	}
	defer f.Close()
	identities, err := age.ParseIdentities(f)
	if err != nil { // the error can quote the file
		return nil, pai.Errorf(pai.CodeInvalid, next, "identity file %s has no private key of age", file)
	}
	return identities, nil
}
