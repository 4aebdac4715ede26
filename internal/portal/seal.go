package portal

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

const (
	// KeySize is the size of the key of sessions in bytes.
	KeySize = 32
	// keyFreshFor is how long a key is used before its file is read again.
	keyFreshFor = 30 * time.Second
	// sealedFor keeps what is sealed here from being opened as anything else.
	sealedFor = "pai portal session 1"
	// maxSealed is the longest cookie that is opened: browsers store 4096 bytes.
	maxSealed = 4096
)

// Session is the login of a browser. It has a secret.
type Session struct {
	Token    string `json:"t"`
	Username string `json:"u"`
	Admin    bool   `json:"a,omitempty"`
	// Expires is zero if the token does not end.
	Expires time.Time `json:"e,omitzero"`
	// Made means that the portal asked for the token, so it revokes it again.
	Made bool `json:"m,omitempty"`
}

// expired reports whether the token has ended.
func (s Session) expired(now time.Time) bool { return !s.Expires.IsZero() && !now.Before(s.Expires) }

// errSealed is the error of a cookie that this key did not seal, or that was changed.
var errSealed = errors.New("the session is not valid")

// Keys seals sessions with the key in a file, which all portals share and which can be
// replaced at any time: that ends all sessions.
type Keys struct {
	File string

	mu     sync.Mutex
	loaded cipher.AEAD
	read   time.Time
}

// Check reports whether the file has a key.
func (k *Keys) Check() error {
	_, err := k.cipher()
	return err
}

// cipher returns AES-256-GCM that makes a random nonce for each session. The number of
// logins stays far below 2^32, where nonces could repeat.
func (k *Keys) cipher() (cipher.AEAD, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.loaded != nil && time.Since(k.read) < keyFreshFor {
		return k.loaded, nil
	}
	fresh, err := readKey(k.File)
	switch {
	case err == nil:
		k.loaded = fresh
	case k.loaded == nil:
		return nil, fmt.Errorf("read the key of sessions: %w", err)
	}
	k.read = time.Now()
	return k.loaded, nil
}

func readKey(file string) (cipher.AEAD, error) {
	key, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if len(key) != KeySize {
		return nil, fmt.Errorf("%s has %d bytes, not %d", file, len(key), KeySize)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// seal returns a session as the value of a cookie.
func (k *Keys) seal(s Session) (string, error) {
	aead, err := k.cipher()
	if err != nil {
		return "", err
	}
	text, err := json.Marshal(s)
	if err != nil {
		return "", fmt.Errorf("encode the session: %w", err)
	}
	sealed := base64.RawURLEncoding.EncodeToString(aead.Seal(nil, nil, text, []byte(sealedFor)))
	if len(sealed) > maxSealed {
		return "", fmt.Errorf("a session of %d bytes is too long for a cookie", len(sealed))
	}
	return sealed, nil
}

// open is the inverse of seal. The error is errSealed unless there is no key.
func (k *Keys) open(value string) (Session, error) {
	aead, err := k.cipher()
	if err != nil {
		return Session{}, err
	}
	if len(value) > maxSealed {
		return Session{}, errSealed
	}
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(value)
	if err != nil {
		return Session{}, errSealed
	}
	text, err := aead.Open(nil, nil, sealed, []byte(sealedFor))
	if err != nil {
		return Session{}, errSealed
	}
	var s Session
	if json.Unmarshal(text, &s) != nil || s.Token == "" {
		return Session{}, errSealed
	}
	return s, nil
}
