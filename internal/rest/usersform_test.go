package rest

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"pgregory.net/rapid"
)

var someUsers = rapid.Custom(func(t *rapid.T) directory {
	names := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z]([-a-z0-9._]{0,8}[a-z0-9])?`), 0, 6, rapid.ID).Draw(t, "names")
	var d directory
	for _, n := range names {
		u := user{Name: n, Admin: rapid.Bool().Draw(t, "admin")}
		for _, h := range rapid.SliceOfN(rapid.StringMatching(`[0-9a-f]{8}`), 0, 3).Draw(t, "tokens") {
			u.Tokens = append(u.Tokens, token{SHA256: h, Created: time.Unix(1700000000, 0).UTC(),
				Expires: rapid.SampledFrom([]time.Time{{}, time.Unix(1800000000, 0).UTC()}).Draw(t, "expires"), Note: rapid.StringMatching(`[a-z ]{0,5}`).Draw(t, "note")})
		}
		d.Users = append(d.Users, u)
	}
	return d
})

// A migration and its undo keep all users with their rights and leave nothing of
// the other form. A second run changes nothing.
func TestUsersMigrationKeepsAllUsers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		before := someUsers.Draw(t, "users")
		data, err := before.encode(UsersDocument)
		if err != nil {
			t.Fatal(err)
		}
		secret := &corev1.Secret{Data: data}
		for _, to := range []UsersForm{UsersByEntry, UsersByEntry, UsersDocument, UsersDocument, UsersByEntry} {
			secret = patched(t, secret, to)
			if found := formOf(secret); found != to && len(before.Users) > 0 {
				t.Fatalf("the form is %q, want %q", found, to)
			}
			if _, both := secret.Data[usersKey]; both && len(entryKeys(secret)) > 0 {
				t.Fatalf("both forms are there: %v", secret.Data)
			}
			after, err := readDirectory(secret, to)
			if err != nil {
				t.Fatal(err)
			}
			same(t, before, after)
		}
	})
}

func same(t *rapid.T, a, b directory) {
	t.Helper()
	if len(a.Users) != len(b.Users) {
		t.Fatalf("%d users, were %d", len(b.Users), len(a.Users))
	}
	for _, u := range a.Users {
		i := slices.IndexFunc(b.Users, func(v user) bool { return v.Name == u.Name })
		if i < 0 || b.Users[i].Admin != u.Admin || !slices.Equal(b.Users[i].Tokens, u.Tokens) {
			t.Fatalf("%+v is not among %+v", u, b.Users)
		}
	}
}

// patched does to a Secret what the API does with the migration's patch.
func patched(t *rapid.T, secret *corev1.Secret, to UsersForm) *corev1.Secret {
	t.Helper()
	text, err := UsersMigration{To: to}.patch(secret)
	if err != nil {
		t.Fatal(err)
	}
	var patch struct{ Data map[string]*string }
	if err := json.Unmarshal(text, &patch); err != nil {
		t.Fatal(err)
	}
	next := &corev1.Secret{Data: map[string][]byte{}}
	for key, value := range secret.Data {
		next.Data[key] = value
	}
	for key, value := range patch.Data {
		if value == nil {
			delete(next.Data, key)
			continue
		}
		if next.Data[key], err = base64.StdEncoding.DecodeString(*value); err != nil {
			t.Fatal(err)
		}
	}
	return next
}

// A server of v0.9 reads only the document. A server of v0.10 accepts all users in
// both forms, so that it can run before and after the migration.
func TestWhichServerReadsWhichForm(t *testing.T) {
	ann := directory{Users: []user{{Name: "ann", Admin: true, Tokens: []token{{SHA256: "aa"}}}}}
	for _, c := range []struct {
		stored, server UsersForm
		in             bool
	}{
		{UsersDocument, UsersDocument, true},
		{UsersDocument, UsersByEntry, true},
		{UsersByEntry, UsersByEntry, true},
		{UsersByEntry, UsersDocument, false},
	} {
		data, err := ann.encode(c.stored)
		if err != nil {
			t.Fatal(err)
		}
		d, err := readDirectory(&corev1.Secret{Data: data}, c.server)
		if err != nil {
			t.Fatal(err)
		}
		if who, _, in := d.holder("aa", time.Now()); in != c.in || in && (who.Name != "ann" || !who.Admin) {
			t.Errorf("stored as %s, read as %s: %+v, %v", c.stored, c.server, who, in)
		}
	}
}
