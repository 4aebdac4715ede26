package identity

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"pai.dev/pai/internal/golden"
	"pai.dev/pai/internal/pai"
)

func TestPasswords(t *testing.T) {
	t.Parallel()
	hash, err := HashPassword("correct horse")
	if err != nil {
		t.Fatal(err)
	}
	other, err := HashPassword("correct horse")
	if err != nil || other == hash {
		t.Errorf("two hashes of a password are the same, error %v", err)
	}
	if strings.Contains(hash, "horse") || Outdated(hash) {
		t.Errorf("got %s", hash)
	}
	if err := VerifyPassword(hash, "ada", "correct horse"); err != nil {
		t.Error(err)
	}
	for _, wrong := range []string{"", "correct hors", "correct horse ", strings.Repeat("x", 1<<20)} {
		if err := VerifyPassword(hash, "ada", wrong); !errors.Is(err, ErrPassword) {
			t.Errorf("%.20q: %v", wrong, err)
		}
	}
	for _, bad := range []string{"", "12345", strings.Repeat("x", MaxPassword+1), "abc\xffdefg"} {
		if _, err := HashPassword(bad); pai.CodeOf(err) != pai.CodeInvalid {
			t.Errorf("%.20q was hashed: %v", bad, err)
		}
	}
}

// The key is what Node.js returns for crypto.pbkdf2Sync('hello-pai',
// md5hex('ada'), 10000, 64, 'sha512').
const importedKey = "af5650315ca81d904716021b8ee3ca4a898983a100e08224f29779c33f412e0988345ea1a0699b9f211998f8b4cf75d164106a4bf7cf911a2262458a8c6f3849"

func TestImportedPasswords(t *testing.T) {
	t.Parallel()
	hash, err := ImportedHash(importedKey)
	if err != nil {
		t.Fatal(err)
	}
	if err := VerifyPassword(hash, "ada", "hello-pai"); err != nil {
		t.Error(err)
	}
	if err := VerifyPassword(hash, "bob", "hello-pai"); !errors.Is(err, ErrPassword) {
		t.Errorf("of another user: %v", err)
	}
	if !Outdated(hash) {
		t.Error("an imported hash stays")
	}
	for _, bad := range []string{"", "zz", importedKey[2:]} {
		if _, err := ImportedHash(bad); pai.CodeOf(err) != pai.CodeInvalid {
			t.Errorf("%.10q: %v", bad, err)
		}
	}
}

// A damaged record is an error without the hash, and costs no memory.
func TestDamagedHashes(t *testing.T) {
	t.Parallel()
	salt, key := base64.RawStdEncoding.EncodeToString(make([]byte, 16)), base64.RawStdEncoding.EncodeToString(make([]byte, 32))
	for _, hash := range []string{
		"", "secret", "$argon2id$v=19$m=47104,t=1,p=1$" + salt, "$argon2id$v=18$m=47104,t=1,p=1$" + salt + "$" + key,
		"$argon2id$v=19$m=262145,t=1,p=1$" + salt + "$" + key, "$argon2id$v=19$m=99999999999,t=1,p=1$" + salt + "$" + key, "$argon2id$v=19$m=47104,t=4000000000,p=1$" + salt + "$" + key,
		"$argon2id$v=19$m=47104,t=0,p=1$" + salt + "$" + key, "$argon2id$v=19$m=47104,t=1,p=0$" + salt + "$" + key,
		"$argon2id$v=19$m=47104,t=1,p=1x$" + salt + "$" + key, "$argon2id$v=19$m=47104,t=1,p=1$" + salt + "$", "$argon2id$v=19$m=47104,t=1,p=1$!$" + key,
		openPAIPrefix + "zz", openPAIPrefix,
	} {
		err := VerifyPassword(hash, "ada", "password")
		if err == nil || errors.Is(err, ErrPassword) || strings.Contains(err.Error(), key) {
			t.Errorf("%s: %v", hash, err)
		}
	}
}

func TestTokensDecode(t *testing.T) {
	t.Parallel()
	issued, expires := time.Unix(1700000000, 0), time.Unix(1700604800, 0)
	claims := Claims{Username: "ada", Application: true, Issued: issued, Expires: expires}
	token, again := NewToken(claims), NewToken(claims)
	if token == again || len(LastPart(token)) < 43 {
		t.Errorf("got %s and %s", token, again)
	}
	for _, text := range []string{token, Listed(claims, "3f9a0c5d1e22")} {
		parts := strings.Split(text, ".")
		if len(parts) != 3 {
			t.Fatalf("%s has %d parts", text, len(parts))
		}
		var header, payload map[string]any
		for i, into := range []*map[string]any{&header, &payload} {
			data, err := base64.RawURLEncoding.DecodeString(parts[i])
			if err != nil || json.Unmarshal(data, into) != nil {
				t.Fatalf("part %d of %s: %v", i, text, err)
			}
		}
		if payload["username"] != "ada" || payload["application"] != true || payload["iat"] != float64(1700000000) || payload["exp"] != float64(1700604800) {
			t.Errorf("got %v", payload)
		}
		if c, ok := ReadClaims(text); !ok || c.Username != "ada" || !c.Application || !c.Issued.Equal(issued) || !c.Expires.Equal(expires) {
			t.Errorf("got %+v, %v", c, ok)
		}
	}
	if strings.Contains(Listed(claims, "id"), LastPart(token)) {
		t.Error("a list has what makes a token valid")
	}
	for _, bad := range []string{"", "pai_abc", "a.b", "a.b.c", "a.e30.c.d", "a.!.c"} {
		if _, ok := ReadClaims(bad); ok {
			t.Errorf("%q has claims", bad)
		}
	}
}

func TestPolicy(t *testing.T) {
	t.Parallel()
	guest, ada, boss := Caller{}, Caller{Name: "ada", VirtualClusters: []string{"research"}}, Caller{Name: "boss", Admin: true}
	application := Caller{Name: "boss", Admin: true, Application: true}
	own, others := Object{Kind: Job, Owner: "ada"}, Object{Kind: Job, Owner: "bob"}
	for _, c := range []struct {
		policy Policy
		caller Caller
		verb   Verb
		object Object
		reason error
	}{
		{Policy{}, guest, Read, Object{Kind: Server}, nil},
		{Policy{}, guest, Read, own, ErrGuest},
		{Policy{}, ada, Read, own, nil},
		{Policy{}, ada, Read, others, ErrNotOwner},
		{Policy{}, ada, Read, Object{Kind: Job}, ErrNotOwner},
		{Policy{}, guest, Read, Object{Kind: Job}, ErrGuest},
		{Policy{ListOthersJobs: true}, ada, Read, others, ErrNotOwner},
		{Policy{ListOthersJobs: true}, ada, Update, others, ErrNotOwner},
		{Policy{}, boss, Read, others, nil},
		{Policy{}, ada, List, others, ErrNotOwner},
		{Policy{ListOthersJobs: true}, ada, List, others, nil},
		{Policy{ListOthersJobs: true}, guest, List, others, ErrGuest},
		{Policy{}, ada, Create, Object{Kind: Job, VirtualCluster: "research"}, nil},
		{Policy{}, ada, Create, Object{Kind: Job, VirtualCluster: "default"}, ErrNotMember},
		{Policy{}, boss, Create, Object{Kind: Job, VirtualCluster: "default"}, nil},
		{Policy{}, ada, Read, Object{Kind: Storage, Name: "research"}, ErrNotMember},
		{Policy{}, ada, Create, Object{Kind: User}, ErrNotAdmin},
		{Policy{}, boss, Create, Object{Kind: User}, nil},
		{Policy{}, application, Create, Object{Kind: User}, ErrApplication},
		{Policy{}, application, List, Object{Kind: Node}, nil},
		{Policy{}, boss, Delete, Object{Kind: Token, Owner: "ada"}, ErrNotOwner},
	} {
		err := c.policy.Authorize(c.caller, c.verb, c.object)
		if !errors.Is(err, c.reason) || (err == nil) != (c.reason == nil) {
			t.Errorf("%+v: %s %+v with %+v: got %v, want %v", c.caller, c.verb, c.object, c.policy, err, c.reason)
		}
		if err != nil && pai.CodeOf(err) != pai.CodeForbidden {
			t.Errorf("%v has code %s", err, pai.CodeOf(err))
		}
	}
	if err := (Policy{}).Authorize(boss, Delete, Object{Kind: Node}); pai.CodeOf(err) != pai.CodeForbidden {
		t.Errorf("what has no rule: %v", err)
	}
}

// docs/users.md has the table of rights, which is made from the rules.
func TestTableOfRights(t *testing.T) {
	t.Parallel()
	const path, begin, end = "../../docs/users.md", "<!-- rules -->\n", "<!-- end of rules -->"
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, _ := strings.Cut(string(data), begin)
	_, after, found := strings.Cut(rest, end)
	if !found {
		t.Fatalf("%s has no marks for the table", path)
	}
	golden.Check(t, path, before+begin+Table()+end+after)
}
