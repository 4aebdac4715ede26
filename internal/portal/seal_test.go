package portal

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

// The REST server refuses a token that it did not make, so what the portal refuses is
// tested here: it must not read a session that it did not seal.
func TestOnlySealedSessionsAreOpened(t *testing.T) {
	t.Parallel()
	keys := func(letter string) *Keys {
		k := &Keys{File: filepath.Join(t.TempDir(), "key")}
		write(t, k.File, []byte(strings.Repeat(letter, KeySize)))
		return k
	}
	own, other := keys("k"), keys("o")
	session := Session{Token: "x", Username: "admin", Admin: true}
	sealed, err := own.seal(session)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := own.open(sealed); err != nil || got != session {
		t.Fatalf("got %+v, %v, want what was sealed", got, err)
	}
	text, err := json.Marshal(session)
	if err != nil {
		t.Fatal(err)
	}
	aead, err := own.cipher()
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := other.seal(session)
	if err != nil {
		t.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	for name, value := range map[string]string{
		"not sealed":                encode(text),
		"sealed with another key":   foreign,
		"sealed for something else": encode(aead.Seal(nil, nil, text, []byte("pai portal session 2"))),
		"cut off":                   sealed[:len(sealed)-4],
	} {
		if got, err := own.open(value); !errors.Is(err, errSealed) {
			t.Errorf("%s: got %+v, %v, want it to be refused", name, got, err)
		}
	}
}
