package rest

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"pai.dev/pai/internal/identity"
	"pai.dev/pai/internal/openpaisecrets"
)

func TestGroupsDecideRights(t *testing.T) {
	t.Parallel()
	w := newWhole(t, identity.Policy{}, "default", "research")
	w.user(t, "ada", false)
	ctx := t.Context()
	rights := func() string {
		c, err := w.accounts.Caller(ctx, "ada")
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(c.Admin, c.VirtualClusters)
	}
	step := func(what string, err error, want string) {
		t.Helper()
		if got := rights(); err != nil || got != want {
			t.Errorf("%s: got %s, %v; want %s", what, got, err, want)
		}
	}
	step("a new user", nil, "false [default]")
	step("added to a group of a virtual cluster", w.accounts.AddToGroup(ctx, "ada", "research", true), "false [default research]")
	step("removed from it", w.accounts.AddToGroup(ctx, "ada", "research", false), "false [default]")
	_, err := w.accounts.CreateGroup(ctx, "vision", GroupChange{Rights: &RightsChange{VirtualClusters: &[]string{"research"}}})
	step("a group is created", err, "false [default]")
	step("added to it", w.accounts.AddToGroup(ctx, "ada", "vision", true), "false [default research]")
	_, err = w.accounts.UpdateGroup(ctx, "vision", GroupChange{Rights: &RightsChange{Admin: new(true)}})
	step("the group administers", err, "true [default research]")
	step("the group is deleted", w.accounts.DeleteGroup(ctx, "vision"), "false [default]")
	_, err = w.accounts.UpdateGroup(ctx, "default", GroupChange{Rights: &RightsChange{VirtualClusters: &[]string{}}})
	step("the group of all users loses its right", err, "false []")
	_, err = w.accounts.Update(ctx, "ada", UserChange{VirtualClusters: &[]string{"research"}})
	step("virtual clusters of the user", err, "false [research]")
	_, err = w.accounts.Update(ctx, "ada", UserChange{Admin: new(true)})
	step("an administrator", err, "true [default research]")
	_, err = w.accounts.Update(ctx, "ada", UserChange{Admin: new(false)})
	step("not any more", err, "false [research]")
	for what, err := range map[string]error{
		"NoGroupError":           w.accounts.AddToGroup(ctx, "ada", "nothing", true),
		"NoUserError":            w.accounts.AddToGroup(ctx, "missing", "research", true),
		"ForbiddenKeyError":      w.accounts.DeleteGroup(ctx, "research"),
		"ConflictGroupError":     second(w.accounts.CreateGroup(ctx, "adminGroup", GroupChange{})),
		"NoVirtualClusterError":  second(w.accounts.Update(ctx, "ada", UserChange{VirtualClusters: &[]string{"nothing"}})),
		"ConflictUserError":      second(w.accounts.Create(ctx, "ada", UserChange{})),
		"InvalidParametersError": second(w.accounts.Create(ctx, "../ada", UserChange{})),
		"RemoveAdminError":       w.removeBootstrapAdmin(t),
	} {
		var r *reason
		if !errors.As(err, &r) || r.code != what {
			t.Errorf("got %v, want %s", err, what)
		}
	}
	if got := rights(); got != "false [research]" {
		t.Errorf("a refused change changed rights: %s", got)
	}
}

// keepVirtualClusters removes all virtual clusters but some, as an operator does.
func (w *whole) keepVirtualClusters(t *testing.T, names ...string) {
	t.Helper()
	users, ok := w.handler.Users.(*Users)
	if !ok {
		t.Fatal("the server has other users")
	}
	users.WithVirtualClusters(names)
	w.handler.Logins.Accounts.VirtualClusters = names
	w.accounts = w.handler.Logins.Accounts
	w.accounts.Changed(t.Context())
}

// A virtual cluster is removed, and its group with it. The other rights of its users can
// still be given and taken singly, also by a client that sends back what it has read.
func TestRightsAfterAVirtualClusterIsRemoved(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		change func(t *testing.T, w *whole, a Accounts) error
		want   string // the groups of ada afterwards
	}{
		"not an administrator any more": {func(t *testing.T, _ *whole, a Accounts) error {
			t.Helper()
			return second(a.Update(t.Context(), "ada", UserChange{Admin: new(false)}))
		}, "[default research]"},
		"removed from a group": {func(t *testing.T, _ *whole, a Accounts) error {
			t.Helper()
			return a.AddToGroup(t.Context(), "ada", "research", false)
		}, "[adminGroup default]"},
		"removed from the group that does not exist any more": {func(t *testing.T, _ *whole, a Accounts) error {
			t.Helper()
			return a.AddToGroup(t.Context(), "ada", "old", false)
		}, "[adminGroup default research]"},
		"added to a group": {func(t *testing.T, _ *whole, a Accounts) error {
			t.Helper()
			return a.AddToGroup(t.Context(), "ada", "vision", true)
		}, "[adminGroup default research vision]"},
		"other virtual clusters": {func(t *testing.T, _ *whole, a Accounts) error {
			t.Helper()
			return second(a.Update(t.Context(), "ada", UserChange{VirtualClusters: &[]string{}}))
		}, "[adminGroup default]"},
		"sent back": {func(t *testing.T, w *whole, a Accounts) error {
			t.Helper()
			boss := w.withToken(t, a, "boss", true)
			_, read := w.ask(t, http.MethodGet, "/rest-server/api/v2/users/ada", boss, "")
			if !strings.Contains(read, `"old"`) {
				t.Errorf("what ends with the change is hidden: %s", read)
			}
			status, text := w.ask(t, http.MethodPut, "/rest-server/api/v2/users", boss, `{"data":`+read+`}`)
			if status != http.StatusCreated {
				t.Errorf("got %d %s", status, text)
			}
			return nil
		}, "[adminGroup default research]"},
	} {
		w := newWhole(t, identity.Policy{}, "default", "research", "old")
		for _, g := range []string{"vision", "sound"} {
			if _, err := w.accounts.CreateGroup(t.Context(), g, GroupChange{Rights: &RightsChange{VirtualClusters: &[]string{"old", "research"}}}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := w.accounts.Create(t.Context(), "ada", UserChange{Groups: &[]string{"old", "research", groupAdmin}}); err != nil {
			t.Fatal(err)
		}
		w.keepVirtualClusters(t, "default", "research")
		err := c.change(t, w, w.accounts)
		if u, _ := w.accounts.Get(t.Context(), "ada"); err != nil || fmt.Sprint(u.Groups) != c.want {
			t.Errorf("%s: %v; got the groups %v, want %s", what, err, u.Groups, c.want)
		}
	}
}

// What never was a group, or ended before, is still refused. A group with the name of a
// removed virtual cluster begins without members.
func TestGroupsOfRemovedVirtualClustersAreUnknown(t *testing.T) {
	t.Parallel()
	w := newWhole(t, identity.Policy{}, "default", "research", "old")
	ctx := t.Context()
	if _, err := w.accounts.CreateGroup(ctx, "vision", GroupChange{Rights: &RightsChange{VirtualClusters: &[]string{"old", "research"}}}); err != nil {
		t.Fatal(err)
	}
	for name, groups := range map[string][]string{"ada": {"old", "vision"}, "bob": {}} {
		if _, err := w.accounts.Create(ctx, name, UserChange{Groups: &groups}); err != nil {
			t.Fatal(err)
		}
	}
	w.keepVirtualClusters(t, "default", "research")
	for what, err := range map[string]error{
		"added to it":                       w.accounts.AddToGroup(ctx, "ada", "old", true),
		"a group that the user had not":     second(w.accounts.Update(ctx, "bob", UserChange{Groups: &[]string{"old"}})),
		"a group that never existed":        second(w.accounts.Update(ctx, "ada", UserChange{Groups: &[]string{"old", "nothing"}})),
		"a right that the user had not":     second(w.accounts.Update(ctx, "bob", UserChange{VirtualClusters: &[]string{"old"}})),
		"a right that the group had not":    second(w.accounts.UpdateGroup(ctx, "research", GroupChange{Rights: &RightsChange{VirtualClusters: &[]string{"old"}}})),
		"a right that no group can get now": second(w.accounts.CreateGroup(ctx, "sound", GroupChange{Rights: &RightsChange{VirtualClusters: &[]string{"old"}}})),
	} {
		var r *reason
		if !errors.As(err, &r) || r.code != "NoGroupError" && r.code != "NoVirtualClusterError" {
			t.Errorf("%s: got %v", what, err)
		}
	}
	// The rights of a group are sent back, without one of them.
	g, err := w.accounts.UpdateGroup(ctx, "vision", GroupChange{Rights: &RightsChange{VirtualClusters: &[]string{"old"}}})
	if err != nil || len(g.Rights().VirtualClusters) > 0 {
		t.Errorf("the group has the rights %+v, %v", g.Rights(), err)
	}
	for name, create := range map[string]func() error{
		"created": func() error {
			return second(w.accounts.CreateGroup(ctx, "old", GroupChange{Rights: &RightsChange{Admin: new(true)}}))
		},
		"imported": func() error {
			return second(w.accounts.Import(ctx, openpaisecrets.Export{Groups: []openpaisecrets.Group{{Name: "old", Admin: true}}}, false))
		},
	} {
		stored := w.memory.secret(t).Data
		if err := create(); err != nil {
			t.Fatal(err)
		}
		members, err := w.accounts.Members(ctx, "old")
		if c, _ := w.accounts.Caller(ctx, "ada"); err != nil || len(members) > 0 || c.Admin {
			t.Errorf("%s: the group has the members %v, %v", name, members, err)
		}
		w.store(t, stored)
	}
}

func second[T any](_ T, err error) error { return err }

// removeBootstrapAdmin tries to take the rights of the first administrator.
func (w *whole) removeBootstrapAdmin(t *testing.T) error {
	t.Helper()
	if _, err := w.accounts.Create(t.Context(), AdminUser, UserChange{}); err != nil {
		t.Fatal(err)
	}
	_, err := w.accounts.Update(t.Context(), AdminUser, UserChange{Admin: new(false)})
	return errors.Join(err, w.accounts.Delete(t.Context(), AdminUser), w.accounts.AddToGroup(t.Context(), AdminUser, groupAdmin, false))
}

// A server of v0.10 reads the users and their tokens, and leaves accounts and groups as
// they are when paictl of v0.10 writes users.
func TestUsersAreReadByOlderServers(t *testing.T) {
	t.Parallel()
	w := newWhole(t, identity.Policy{}, "default", "research")
	tokens := map[string]string{"ada": w.user(t, "ada", false, "research"), "boss": w.user(t, "boss", true)}
	if _, err := w.accounts.CreateGroup(t.Context(), "vision", GroupChange{}); err != nil {
		t.Fatal(err)
	}
	secret := w.memory.secret(t)
	older := map[string]bool{} // what v0.10 knows of a user, by the hash of a token
	for key, value := range secret.Data {
		name, isUser := strings.CutPrefix(key, "user.")
		if !isUser {
			if key == usersKey {
				t.Errorf("%s is the form of v0.9", key)
			}
			continue
		}
		var u struct {
			Admin  bool
			Tokens []struct{ SHA256 string }
		}
		if err := json.Unmarshal(value, &u); err != nil {
			t.Fatal(err)
		}
		older[name] = u.Admin
		if len(u.Tokens) != 1 || u.Tokens[0].SHA256 != hashToken(tokens[name]) {
			t.Errorf("%s has the tokens %+v", name, u.Tokens)
		}
	}
	if !reflect.DeepEqual(older, map[string]bool{"ada": false, "boss": true}) {
		t.Errorf("v0.10 reads %v", older)
	}
	// v0.10 writes the entries that it read, without what it does not know.
	for name, admin := range older {
		secret.Data["user."+name] = fmt.Appendf(nil, `{"admin":%t,"tokens":[{"sha256":%q}]}`, admin, hashToken(tokens[name]))
	}
	d, err := readDirectory(secret, UsersByEntry)
	if err != nil {
		t.Fatal(err)
	}
	d.virtualClusters = []string{"default", "research"}
	c, _, found := d.holder(hashToken(tokens["ada"]), time.Now())
	if !found || c.Admin || !slices.Equal(c.VirtualClusters, []string{"default", "research"}) {
		t.Errorf("after v0.10: %+v", c)
	}
	if u, _ := d.user("ada"); u.account.Password == "" || len(d.groups) != 1 {
		t.Errorf("after v0.10: %+v, groups %+v", u.account, d.groups)
	}
	// The way to the form of v0.9 and its undo keep them, too.
	for _, to := range []UsersForm{UsersDocument, UsersByEntry} {
		secret = migrated(t, secret, to)
	}
	again, err := readDirectory(secret, UsersByEntry)
	if err != nil || len(again.groups) != 1 || len(again.Users) != 2 || again.Users[0].account == nil || again.Users[1].account == nil {
		t.Errorf("after v0.9: %+v, %v", again, err)
	}
}

func migrated(t *testing.T, secret *corev1.Secret, to UsersForm) *corev1.Secret {
	t.Helper()
	secret.Data[linkKeyKey] = []byte("key")
	patch, err := UsersMigration{To: to}.patch(secret)
	if err != nil {
		t.Fatal(err)
	}
	var p struct{ Data map[string]*string }
	if err := json.Unmarshal(patch, &p); err != nil {
		t.Fatal(err)
	}
	for key, value := range p.Data {
		if value == nil {
			delete(secret.Data, key)
			continue
		}
		if secret.Data[key], err = base64.StdEncoding.DecodeString(*value); err != nil {
			t.Fatal(err)
		}
	}
	if string(secret.Data[linkKeyKey]) != "key" {
		t.Error("the migration removes what it does not know")
	}
	return secret
}

// Users of v0.10 have no account: administrators stay what they are, others have the
// rights of all users.
func TestUsersOfOlderServersKeepTheirRights(t *testing.T) {
	t.Parallel()
	secret := &corev1.Secret{Data: map[string][]byte{
		"user.admin": []byte(`{"admin":true,"tokens":[{"sha256":"aa"}]}`), "user.boss": []byte(`{"admin":true,"tokens":[{"sha256":"bb"}]}`),
		"user.ada": []byte(`{"tokens":[{"sha256":"cc"}]}`),
	}}
	d, err := readDirectory(secret, UsersByEntry)
	if err != nil {
		t.Fatal(err)
	}
	d.virtualClusters = []string{"default", "research"}
	for hash, want := range map[string]string{"aa": "true [default research]", "bb": "true [default research]", "cc": "false [default]"} {
		c, _, _ := d.holder(hash, time.Now())
		if got := fmt.Sprint(c.Admin, c.VirtualClusters); got != want {
			t.Errorf("%s: got %s, want %s", hash, got, want)
		}
	}
	u, _ := d.user("boss")
	d.giveAccount(u)
	if !d.caller(*u, token{}).Admin {
		t.Error("an administrator with an account is none any more")
	}
}

// A damaged account has only the rights of all users, and cannot log in.
func TestDamagedAccountHasNoRights(t *testing.T) {
	t.Parallel()
	secret := &corev1.Secret{Data: map[string][]byte{
		"user.boss": []byte(`{"admin":true,"tokens":[{"sha256":"bb"}]}`), "account.boss": []byte(`{"groups":["adminGroup"],}`),
		"user.ada": []byte(`{"tokens":[{"sha256":"cc"}],}`), "account.ada": []byte(`{"groups":["adminGroup"]}`),
		"group.vision": []byte(`{"acls":{"admin":true},}`),
	}}
	d, problems := readDirectory(secret, UsersByEntry)
	for _, key := range []string{"account.boss", "user.ada", "group.vision"} {
		if problems == nil || !strings.Contains(problems.Error(), key) {
			t.Errorf("%v does not name %s", problems, key)
		}
	}
	if c, _, found := d.holder("bb", time.Now()); !found || c.Admin {
		t.Errorf("got %+v", c)
	}
	if _, found := d.user("ada"); found {
		t.Error("a user whose entry is damaged is known")
	}
	if g, _ := d.group("vision"); g.ACLs.Admin {
		t.Error("a damaged group has rights")
	}
}
