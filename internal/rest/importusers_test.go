package rest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pai.dev/pai/internal/identity"
	"pai.dev/pai/internal/openpaisecrets"
)

// openPAIKey is what Node.js returns for
// crypto.pbkdf2Sync('hello-pai', md5hex('ada'), 10000, 64, 'sha512').
const openPAIKey = "af5650315ca81d904716021b8ee3ca4a898983a100e08224f29779c33f412e0988345ea1a0699b9f211998f8b4cf75d164106a4bf7cf911a2262458a8c6f3849"

// imported is what an OpenPAI cluster has: an administrator, a user with a group that
// has a virtual cluster too many, and an application token.
func imported() openpaisecrets.Export {
	return openpaisecrets.Export{
		Groups: []openpaisecrets.Group{
			{Name: "adminGroup", Admin: true},
			{Name: "default", VirtualClusters: []string{"default", "research"}},
			{Name: "vision", Description: "eyes", VirtualClusters: []string{"research", "old"}, Storages: []string{"data"}},
		},
		Users: []openpaisecrets.User{
			{Name: "admin", PasswordKey: openPAIKey, Groups: []string{"adminGroup"}},
			{Name: "ada", Email: "ada@example.com", PasswordKey: openPAIKey, Groups: []string{"default", "vision", "lost"},
				Extension: map[string]json.RawMessage{"sshKeys": json.RawMessage(`[]`)}},
			{Name: "grace", Groups: []string{"adminGroup"}},
		},
		Tokens: []openpaisecrets.Token{{User: "ada", Text: "a.b.c"}, {User: "ada", Text: "d.e.f", DefaultKey: true}},
	}
}

func TestImportBringsUsersGroupsAndTokens(t *testing.T) {
	t.Parallel()
	w := newWhole(t, identity.Policy{}, "default", "research")
	w.user(t, "admin", true)
	before := maps.Clone(w.memory.secret(t).Data)
	planned, err := w.accounts.Import(t.Context(), imported(), true)
	if err != nil {
		t.Fatal(err)
	}
	if after := w.memory.secret(t).Data; !maps.EqualFunc(before, after, bytes.Equal) {
		t.Fatal("a dry run changed the users")
	}
	got, err := w.accounts.Import(t.Context(), imported(), false)
	if err != nil {
		t.Fatal(err)
	}
	planned.DryRun = false
	if text(planned) != text(got) {
		t.Errorf("the dry run said\n%s\nand the import did\n%s", text(planned), text(got))
	}
	want := `groups adminGroup exists [] default exists [not added: the right to research; run: paictl group update default --virtual-clusters default,research]` +
		` vision created [no right to virtual clusters that do not exist: old]` +
		` users admin exists admin=true password=true tokens=1 [adminGroup default] []` +
		` ada created admin=false password=true tokens=1 [default vision] [group "lost" does not exist` +
		` 1 application tokens are refused: they are signed with the default key of OpenPAI, so that others can compute them; the user creates new ones]` +
		` grace created admin=true password=false tokens=0 [adminGroup default] [no password; run: paictl user update grace --password]`
	if summary(got) != want {
		t.Errorf("got\n%s\nwant\n%s", summary(got), want)
	}

	c, err := w.accounts.Caller(t.Context(), "ada")
	if err != nil || fmt.Sprint(c.Admin, c.VirtualClusters, c.Storages) != "false [default research] [data]" {
		t.Errorf("ada has the rights %+v, %v", c, err)
	}
	for token, want := range map[string]int{"a.b.c": 200, "d.e.f": 401} {
		if status, text := w.ask(t, "GET", "/rest-server/api/v2/users/ada", token, ""); status != want {
			t.Errorf("an application token of OpenPAI: %d %s, want %d", status, text, want)
		}
	}
	if text := fmt.Sprint(w.memory.secret(t).Data); strings.Contains(text, "a.b.c") {
		t.Error("the token itself is stored")
	}
	again, err := w.accounts.Import(t.Context(), imported(), false)
	if err != nil || strings.Contains(summary(again), string(ImportCreated)) {
		t.Errorf("a second import: %s, %v; want no change", summary(again), err)
	}
}

// The password of OpenPAI is good once, and then stored in the form of PAI.
func TestImportedPasswordIsReplaced(t *testing.T) {
	t.Parallel()
	w := newWhole(t, identity.Policy{}, "default")
	if _, err := w.accounts.Import(t.Context(), imported(), false); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, _, err := w.handler.Logins.Login(t.Context(), "ada", "hello-pai", 0); err != nil {
			t.Fatal(err)
		}
	}
	if text := string(w.memory.secret(t).Data["account.ada"]); strings.Contains(text, openPAIKey[:20]) || !strings.Contains(text, "$argon2id$") {
		t.Errorf("stored: %s", text)
	}
}

// One user that is not valid keeps all out, and the error names all of them.
func TestImportIsAllOrNothing(t *testing.T) {
	t.Parallel()
	w := newWhole(t, identity.Policy{}, "default")
	w.user(t, "admin", true)
	before := maps.Clone(w.memory.secret(t).Data)
	e := imported()
	e.Users = append(e.Users,
		openpaisecrets.User{Name: "../eve"}, openpaisecrets.User{Name: "ada"},
		openpaisecrets.User{Name: "bob", PasswordKey: "plain text"}, openpaisecrets.User{Name: "ann", Email: "<script>"},
		openpaisecrets.User{Name: "max", Groups: make([]string, maxGroupsOf+1)},
		openpaisecrets.User{Name: "big", Extension: map[string]json.RawMessage{"x": json.RawMessage(`"` + strings.Repeat("x", maxExtension) + `"`)}})
	e.Groups = append(e.Groups, openpaisecrets.Group{Name: "a b"}, openpaisecrets.Group{Name: "vision"},
		openpaisecrets.Group{Name: "wordy", Description: strings.Repeat("x", maxDescription+1)})
	_, err := w.accounts.Import(t.Context(), e, false)
	if err == nil {
		t.Fatal("got no error")
	}
	for _, want := range []string{`user "../eve"`, `user "ada" is a duplicate`, `user "bob": the password`, `user "ann": invalid email`, `user "max" is in`,
		`user "big": the extension`, `group "a b"`, `group "vision" is a duplicate`, `group "wordy"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %v\nwant %q", err, want)
		}
	}
	if strings.Contains(err.Error(), "plain text") {
		t.Error("the error quotes a password")
	}
	if after := w.memory.secret(t).Data; !maps.EqualFunc(before, after, bytes.Equal) {
		t.Error("a refused import changed the users")
	}
	if _, err := w.accounts.Import(t.Context(), openpaisecrets.Export{}, false); err == nil || !strings.Contains(err.Error(), "neither users nor groups") {
		t.Errorf("an empty import: %v", err)
	}
}

// A user has at most the tokens of the limit, each once.
func TestImportBoundsTokens(t *testing.T) {
	t.Parallel()
	w := newWhole(t, identity.Policy{}, "default")
	e := imported()
	for n := range maxApplications + 2 {
		e.Tokens = append(e.Tokens, slices.Repeat([]openpaisecrets.Token{{User: "ada", Text: fmt.Sprintf("a.b.%d", n)}}, 2)...)
	}
	got, err := w.accounts.Import(t.Context(), e, false)
	if err != nil || got.Users[1].Tokens != maxApplications || !strings.Contains(summary(got), "above the limit") {
		t.Errorf("got %s, %v", summary(got), err)
	}
}

func text(r ImportReport) string {
	data, err := json.Marshal(r)
	if err != nil {
		panic(err)
	}
	return string(data)
}

func summary(r ImportReport) string {
	parts := []string{"groups"}
	for _, g := range r.Groups {
		parts = append(parts, g.Name, string(g.Result), fmt.Sprint(g.Notes))
	}
	parts = append(parts, "users")
	for _, u := range r.Users {
		parts = append(parts, fmt.Sprintf("%s %s admin=%t password=%t tokens=%d %v %v", u.Name, u.Result, u.Admin, u.Password, u.Tokens, u.Groups, u.Notes))
	}
	return strings.Join(parts, " ")
}
