package openpaisecrets

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"pai.dev/pai/internal/identity"
)

// defaultKey is the jwt-secret of OpenPAI if its operator sets none.
const defaultKey = "pai-secret"

// named returns an error unless the Secret has the name that OpenPAI gives it: the
// hexadecimal name of the user or group. So no Secret stands for the user of another.
func (s secret) named(name string) error {
	switch {
	case name == "":
		return errors.New("it has no name of a user or group")
	case hex.EncodeToString([]byte(name)) != s.Metadata.Name:
		return fmt.Errorf("its name is not that of %q in hexadecimal", name)
	}
	return nil
}

// tokens reads the application tokens of one user.
func (s secret) tokens() ([]Token, error) {
	owner, err := hex.DecodeString(s.Metadata.Name)
	if err != nil {
		return nil, errors.New("its name is not that of a user in hexadecimal")
	}
	var tokens []Token
	for _, id := range slices.Sorted(maps.Keys(s.Data)) {
		text := string(s.Data[id])
		claims, signed, err := parse(text)
		switch {
		case err != nil:
			return nil, fmt.Errorf("token %q: %w", id, err)
		case claims.Username != string(owner):
			return nil, fmt.Errorf("token %q belongs to user %q", id, claims.Username)
		case claims.Application:
			tokens = append(tokens, Token{User: claims.Username, Text: text, DefaultKey: signed})
		}
	}
	return tokens, nil
}

// parse decodes a token, and reports whether the default key signed it. The errors have
// nothing of the token.
func parse(text string) (c identity.Claims, byDefaultKey bool, err error) {
	c, ok := identity.ReadClaims(text)
	if !ok {
		return c, false, errors.New("it is not a JSON Web Token of OpenPAI")
	}
	last := identity.LastPart(text)
	signature, err := base64.RawURLEncoding.DecodeString(last)
	if err != nil {
		return c, false, errors.New("its signature is not valid base64")
	}
	mac := hmac.New(sha256.New, []byte(defaultKey))
	mac.Write([]byte(strings.TrimSuffix(text, "."+last)))
	return c, hmac.Equal(signature, mac.Sum(nil)), nil
}
