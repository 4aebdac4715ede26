package identity

import (
	"crypto/md5" //nolint:gosec // the salt of imported passwords is the MD5 sum of the user name
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"

	"pai.dev/pai/internal/pai"
)

// The parameters of Argon2id are the first choice of the OWASP Password Storage Cheat
// Sheet: 46 MiB, one pass. Hashes keep their parameters, so these can grow.
const (
	argonMemory  = 46 << 10 // KiB
	argonPasses  = 1
	argonThreads = 1
	argonKey     = 32
	argonSalt    = 16
	// The limits for stored hashes, which a damaged or hostile record could exceed.
	maxArgonMemory = 256 << 10
	maxArgonPasses = 16

	// What OpenPAI stores of a password.
	openPAIIterations = 10000
	openPAIKey        = 64
	openPAIPrefix     = "$openpai-pbkdf2-sha512$"
)

// How many bytes a password has. The smallest number is what OpenPAI allows.
const (
	MinPassword = 6
	MaxPassword = 1024
)

// ErrPassword means that a password is not that of the hash.
var ErrPassword = errors.New("the password is wrong")

// CheckPassword returns an error if a password cannot be set.
func CheckPassword(password string) error {
	switch {
	case len(password) < MinPassword || len(password) > MaxPassword:
		return pai.Errorf(pai.CodeInvalid, "", "a password has %d to %d bytes", MinPassword, MaxPassword)
	case !utf8.ValidString(password):
		return pai.Errorf(pai.CodeInvalid, "", "a password is text in UTF-8")
	}
	return nil
}

// HashPassword returns the form of a password that is stored. It takes 46 MiB of memory
// while it runs, so the caller limits how many run at the same time.
func HashPassword(password string) (string, error) {
	if err := CheckPassword(password); err != nil {
		return "", err
	}
	salt := make([]byte, argonSalt)
	_, _ = rand.Read(salt) // never fails
	key := argon2.IDKey([]byte(password), salt, argonPasses, argonMemory, argonThreads, argonKey)
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, argonMemory, argonPasses, argonThreads,
		base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(key)), nil
}

// ImportedHash is the stored form of a password of OpenPAI: the hexadecimal key that its
// Secret has. A login with the password replaces it; see Outdated.
func ImportedHash(key string) (string, error) {
	if raw, err := hex.DecodeString(key); err != nil || len(raw) != openPAIKey {
		return "", pai.Errorf(pai.CodeInvalid, "", "the key of a password has %d hexadecimal digits", 2*openPAIKey)
	}
	return openPAIPrefix + strings.ToLower(key), nil
}

// Outdated reports whether a hash should be replaced at the next login.
func Outdated(hash string) bool {
	return !strings.HasPrefix(hash, fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$", argon2.Version, argonMemory, argonPasses, argonThreads))
}

// VerifyPassword returns nil if the password of a user is that of the hash, and
// ErrPassword if it is another one. It takes as much memory as HashPassword.
func VerifyPassword(hash, user, password string) error {
	if len(password) > MaxPassword {
		return ErrPassword
	}
	if key, ok := strings.CutPrefix(hash, openPAIPrefix); ok {
		return verifyOpenPAI(key, user, password)
	}
	h, err := parseArgon(hash)
	if err != nil {
		return err
	}
	key := argon2.IDKey([]byte(password), h.salt, h.passes, h.memory, h.threads, uint32(len(h.key))) //nolint:gosec // parseArgon limits it
	if subtle.ConstantTimeCompare(key, h.key) != 1 {
		return ErrPassword
	}
	return nil
}

type argonHash struct {
	memory, passes uint32
	threads        uint8
	salt, key      []byte
}

// parseArgon reads the form of HashPassword. The error has nothing of the hash.
func parseArgon(hash string) (h argonHash, err error) {
	damaged := pai.Errorf(pai.CodeFailed, "set the password again; run: paictl user update --password", "the stored password is damaged")
	parts := strings.Split(hash, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return h, damaged
	}
	var trailing string
	if n, _ := fmt.Sscanf(parts[3]+" .", "m=%d,t=%d,p=%d %s", &h.memory, &h.passes, &h.threads, &trailing); n != 4 || trailing != "." {
		return h, damaged
	}
	if h.salt, err = base64.RawStdEncoding.DecodeString(parts[4]); err != nil {
		return h, damaged
	}
	if h.key, err = base64.RawStdEncoding.DecodeString(parts[5]); err != nil {
		return h, damaged
	}
	if h.memory < 8 || h.memory > maxArgonMemory || h.passes < 1 || h.passes > maxArgonPasses || h.threads < 1 || h.threads > 16 ||
		len(h.salt) < 8 || len(h.salt) > 64 || len(h.key) < 16 || len(h.key) > 64 {
		return h, damaged
	}
	return h, nil
}

func verifyOpenPAI(stored, user, password string) error {
	want, err := hex.DecodeString(stored)
	if err != nil || len(want) != openPAIKey {
		return pai.Errorf(pai.CodeFailed, "set the password again; run: paictl user update --password", "the imported password is damaged")
	}
	name := md5.Sum([]byte(user)) //nolint:gosec // OpenPAI's salt
	got, err := pbkdf2.Key(sha512.New, password, []byte(hex.EncodeToString(name[:])), openPAIIterations, openPAIKey)
	if err != nil {
		return fmt.Errorf("check the imported password: %w", err)
	}
	if subtle.ConstantTimeCompare(got, want) != 1 {
		return ErrPassword
	}
	return nil
}
