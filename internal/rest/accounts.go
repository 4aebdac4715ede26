package rest

import (
	"context"
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"pai.dev/pai/internal/pai"
)

// Limits of what is stored of users: all of it is in one Secret, which has 1 MiB.
const (
	maxEmail      = 254
	maxExtension  = 8 << 10
	maxGroupsOf   = 64
	maxUsersBytes = 900 << 10
)

// Accounts changes and reads the users and groups of the REST server. It decides
// nothing: its callers ask identity.Policy first.
type Accounts struct {
	Store UserStore
	// VirtualClusters each have a group of their name.
	VirtualClusters []string
	// Storages name groups that can use them.
	Storages []pai.Storage
	// Read returns the users; nil reads the store.
	Read func(ctx context.Context) (directory, error)
	// Changed is called after a change; nil for nothing.
	Changed func(ctx context.Context)
	// Hashing limits how many passwords are hashed at the same time; nil for no limit.
	Hashing chan struct{}
}

// UserInfo is a user as clients see it, in the shape of OpenPAI.
type UserInfo struct {
	Username        string                     `json:"username"`
	Email           string                     `json:"email"`
	Admin           bool                       `json:"admin"`
	VirtualClusters []string                   `json:"virtualCluster"`
	Storages        []string                   `json:"storageConfig"`
	Groups          []string                   `json:"grouplist"`
	Extension       map[string]json.RawMessage `json:"extension"`
	// CanLogIn means that the user has a password.
	CanLogIn bool `json:"canLogIn"`
	// Tokens is how many valid tokens the user has.
	Tokens int `json:"tokens"`
}

// UserChange is what to change of a user; nil keeps a value.
type UserChange struct {
	Email    *string
	Password *string
	Admin    *bool
	// VirtualClusters are those whose groups the user is in.
	VirtualClusters *[]string
	Groups          *[]string
	Extension       map[string]json.RawMessage
	// Replace replaces the extension; otherwise its keys are merged.
	Replace bool
	// replaces is the hash of the password that the user gave; empty for an administrator,
	// who gives none. The change is refused if another one is stored.
	replaces string
}

func (a Accounts) directory(ctx context.Context) (directory, error) {
	if a.Read != nil {
		return a.Read(ctx)
	}
	secret, err := getSecret(ctx, a.Store, usersSecret)
	if err != nil {
		return directory{}, err
	}
	d, problems := readDirectory(secret, UsersByEntry)
	d.virtualClusters, d.storages = a.VirtualClusters, a.Storages
	if problems != nil {
		return d, pai.Errorf(pai.CodeFailed, "repair or delete these entries with kubectl", "users that cannot be read: %w", problems)
	}
	return d, nil
}

func (a Accounts) change(ctx context.Context, change func(*directory) error) error {
	err := changeUsers(ctx, a.Store, UsersByEntry, func(d *directory) error {
		d.virtualClusters, d.storages = a.VirtualClusters, a.Storages
		if err := permitted(ctx, *d); err != nil {
			return err
		}
		return change(d)
	})
	if err == nil && a.Changed != nil {
		a.Changed(ctx)
	}
	return err
}

// List returns all users by name. If some cannot be read, it returns the others and
// an error.
func (a Accounts) List(ctx context.Context) ([]UserInfo, error) {
	d, err := a.directory(ctx)
	users := []UserInfo{}
	for _, u := range d.Users {
		users = append(users, d.info(u))
	}
	slices.SortFunc(users, func(a, b UserInfo) int { return strings.Compare(a.Username, b.Username) })
	return users, err
}

// Get returns a user.
func (a Accounts) Get(ctx context.Context, name string) (UserInfo, error) {
	d, err := a.directory(ctx)
	if u, found := d.user(name); found {
		return d.info(*u), nil
	}
	if err != nil {
		return UserInfo{}, err
	}
	return UserInfo{}, noUser(name)
}

// Caller returns a user with the rights of a login.
func (a Accounts) Caller(ctx context.Context, name string) (Caller, error) {
	d, err := a.directory(ctx)
	if u, found := d.user(name); found {
		return d.caller(*u, token{}), nil
	}
	if err != nil {
		return Caller{}, err
	}
	return Caller{}, noUser(name)
}

// user returns a user of the directory, to be changed.
func (d *directory) user(name string) (*user, bool) {
	i := slices.IndexFunc(d.Users, func(u user) bool { return u.Name == name })
	if i < 0 {
		return nil, false
	}
	return &d.Users[i], true
}

func (d directory) info(u user) UserInfo {
	c := d.caller(u, token{})
	info := UserInfo{Username: u.Name, Admin: c.Admin, VirtualClusters: list(c.VirtualClusters), Storages: list(c.Storages),
		Groups: d.groupsOf(u), Extension: map[string]json.RawMessage{}}
	if u.account != nil {
		info.Email, info.CanLogIn = u.account.Email, u.account.Password != ""
		maps.Copy(info.Extension, u.account.Extension)
	}
	for _, t := range u.Tokens {
		if !t.expired(time.Now()) {
			info.Tokens++
		}
	}
	return info
}

// list is never null in JSON.
func list(values []string) []string {
	if values == nil {
		return []string{}
	}
	return values
}

// Create adds a user.
func (a Accounts) Create(ctx context.Context, name string, c UserChange) (UserInfo, error) {
	if !userPattern.MatchString(name) {
		return UserInfo{}, invalidParameters("invalid user name %q: it has letters, digits, and _ . - inside, and at most 63 of them", name)
	}
	apply, err := a.prepare(ctx, c)
	if err != nil {
		return UserInfo{}, err
	}
	var info UserInfo
	err = a.change(ctx, func(d *directory) error {
		if _, found := d.user(name); found {
			return userExists(name)
		}
		d.Users = append(d.Users, user{Name: name, account: &account{Groups: []string{}, Created: time.Now().UTC()}})
		u := &d.Users[len(d.Users)-1]
		if err := apply(d, u); err != nil {
			return err
		}
		info = d.info(*u)
		return nil
	})
	return info, err
}

// Update changes a user. A new password ends the logins of the user.
func (a Accounts) Update(ctx context.Context, name string, c UserChange) (UserInfo, error) {
	apply, err := a.prepare(ctx, c)
	if err != nil {
		return UserInfo{}, err
	}
	var info UserInfo
	err = a.change(ctx, func(d *directory) error {
		u, found := d.user(name)
		if !found {
			return noUser(name)
		}
		d.giveAccount(u)
		if err := apply(d, u); err != nil {
			return err
		}
		info = d.info(*u)
		return nil
	})
	return info, err
}

// giveAccount makes a user of v0.10 one with an account and the same rights.
func (d directory) giveAccount(u *user) {
	if u.account == nil {
		groups := slices.DeleteFunc(d.groupsOf(*u), func(g string) bool { return g == groupDefault })
		u.account = &account{Groups: groups, Created: time.Now().UTC()}
	}
}

// Delete removes a user with all tokens. Jobs of the user stay.
func (a Accounts) Delete(ctx context.Context, name string) error {
	return a.change(ctx, func(d *directory) error {
		u, found := d.user(name)
		switch {
		case !found:
			return noUser(name)
		case d.caller(*u, token{}).Admin:
			return removesAdmin(name)
		}
		d.Users = slices.DeleteFunc(d.Users, func(u user) bool { return u.Name == name })
		return nil
	})
}

// prepare checks a change and hashes its password once, however often the change is
// repeated.
func (a Accounts) prepare(ctx context.Context, c UserChange) (apply func(*directory, *user) error, err error) {
	if c.Email != nil && (len(*c.Email) > maxEmail || *c.Email != "" && !emailPattern.MatchString(*c.Email)) {
		return nil, invalidParameters("invalid email address")
	}
	if err := checkExtension(c.Extension); err != nil {
		return nil, err
	}
	hash := ""
	if c.Password != nil {
		if hash, err = a.hashPassword(ctx, *c.Password); err != nil {
			return nil, err
		}
	}
	return func(d *directory, u *user) error { return d.applyChange(u, c, hash) }, nil
}

var emailPattern = regexp.MustCompile(`^[^\s@<>"']+@[^\s@<>"']+$`)

func checkExtension(e map[string]json.RawMessage) error {
	text, err := json.Marshal(e)
	if err != nil || len(text) > maxExtension {
		return invalidParameters("an extension has at most %d bytes of JSON", maxExtension)
	}
	return nil
}

func (d *directory) applyChange(u *user, c UserChange, hash string) error {
	a, before := u.account, d.caller(*u, token{})
	if c.replaces != "" && a.Password != c.replaces {
		return wrongPassword() // it was changed meanwhile
	}
	if c.Email != nil {
		a.Email = *c.Email
	}
	if hash != "" {
		a.Password = hash
		u.Tokens = slices.DeleteFunc(u.Tokens, func(t token) bool { return a.Kinds[t.id()] == tokenOfLogin })
	}
	if c.Replace && c.Extension != nil {
		a.Extension = nil
	}
	if len(c.Extension) > 0 {
		merged := maps.Clone(a.Extension)
		if merged == nil {
			merged = map[string]json.RawMessage{}
		}
		maps.Copy(merged, c.Extension)
		if err := checkExtension(merged); err != nil {
			return err
		}
		a.Extension = merged
	}
	if c.Groups != nil {
		if err := d.setGroups(u, *c.Groups); err != nil {
			return err
		}
	}
	if c.VirtualClusters != nil {
		if err := d.setVirtualClusters(u, *c.VirtualClusters, before.VirtualClusters); err != nil {
			return err
		}
	}
	if c.Admin != nil {
		return d.setAdmin(u, *c.Admin)
	}
	return nil
}

// setGroups changes in which groups a user is. It drops those that the user was in and
// that do not exist any more: the group of a virtual cluster ends with it.
func (d *directory) setGroups(u *user, groups []string) error {
	groups, unknown := dropEnded(groups, u.account.Groups, d.hasGroup)
	if unknown != "" {
		return noGroup(unknown)
	}
	groups = slices.DeleteFunc(distinct(groups), func(g string) bool { return g == groupDefault })
	if len(groups) > maxGroupsOf {
		return invalidParameters("a user is in at most %d groups", maxGroupsOf)
	}
	u.account.Groups = groups
	return nil
}

// dropEnded returns the names that exist. Others are dropped if they were there before,
// because a client sends back what it has read; any other one is unknown.
func dropEnded(names, before []string, exists func(string) bool) (left []string, unknown string) {
	for _, name := range names {
		switch {
		case exists(name):
			left = append(left, name)
		case !slices.Contains(before, name):
			return nil, name
		}
	}
	return left, ""
}

// setVirtualClusters changes in which groups of virtual clusters a user is. before are
// those that the user could use.
func (d *directory) setVirtualClusters(u *user, vcs, before []string) error {
	vcs, unknown := dropEnded(vcs, before, d.hasVirtualCluster)
	if unknown != "" {
		return noVirtualCluster(unknown)
	}
	others := slices.DeleteFunc(slices.Clone(u.account.Groups), d.hasVirtualCluster)
	return d.setGroups(u, append(others, vcs...))
}

func (d *directory) setAdmin(u *user, admin bool) error {
	if !admin && u.Name == AdminUser {
		return removesAdmin(u.Name)
	}
	groups := slices.DeleteFunc(slices.Clone(u.account.Groups), func(g string) bool { return g == groupAdmin })
	if admin {
		groups = append(groups, groupAdmin)
	}
	return d.setGroups(u, groups)
}

// AddToGroup adds a user to a group, or removes the user from it.
func (a Accounts) AddToGroup(ctx context.Context, name, group string, add bool) error {
	return a.change(ctx, func(d *directory) error {
		u, found := d.user(name)
		if !found {
			return noUser(name)
		}
		if add && !d.hasGroup(group) {
			return noGroup(group)
		}
		d.giveAccount(u)
		groups := slices.DeleteFunc(slices.Clone(u.account.Groups), func(g string) bool { return g == group })
		if add {
			groups = append(groups, group)
		} else if group == groupAdmin && name == AdminUser {
			return removesAdmin(name)
		}
		return d.setGroups(u, groups)
	})
}
