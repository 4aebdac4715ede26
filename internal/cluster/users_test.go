package cluster

import (
	"slices"
	"testing"
	"time"

	"pai.dev/pai/internal/etcd"
)

// A restore leaves the users of the REST server as they are, so that no revoked token
// is valid again.
func TestRestoreKeepsUsers(t *testing.T) {
	t.Parallel()
	const other = "/registry/secrets/pai-system/other"
	at := func(created, modified int64) *etcd.Revisions {
		return &etcd.Revisions{Created: created, Modified: modified}
	}
	for _, c := range []struct {
		name      string
		then, now *etcd.Revisions
		changed   bool
		put       string
		removed   bool
	}{
		{"revoked since", at(1, 1), at(1, 5), true, "now", false},
		{"unchanged", at(1, 1), at(1, 1), false, "now", false},
		{"created since", nil, at(5, 5), true, "now", false},
		{"deleted since", at(1, 1), nil, true, "", true},
		{"never there", nil, nil, false, "", false},
	} {
		then, now := content{keys: map[string]etcd.Revisions{other: {Created: 1, Modified: 1}}}, content{keys: map[string]etcd.Revisions{other: {Created: 1, Modified: 2}}}
		if c.then != nil {
			then.keys[usersKey] = *c.then
		}
		if c.now != nil {
			now.keys[usersKey], now.users = *c.now, []byte("now")
		}
		loss := compareContent("s.db", time.Time{}, then, now)
		if loss.UsersChanged != c.changed {
			t.Errorf("%s: changed %t", c.name, loss.UsersChanged)
		}
		if want := []KindLoss{{Kind: "secrets", Changed: 1}}; !slices.Equal(loss.Kinds, want) || loss.Created[usersKey] || loss.Gone[usersKey] {
			t.Errorf("%s: got the loss %v, want that of the other secret", c.name, loss.Kinds)
		}
		carried, err := loss.Carried(Carry{})
		if err != nil || string(carried.Put[usersKey]) != c.put || slices.Contains(carried.Remove, usersKey) != c.removed {
			t.Errorf("%s: carried %q, removed %v, %v", c.name, carried.Put, carried.Remove, err)
		}
	}
}
