package rest

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// account is what is stored of a user besides the tokens.
type account struct {
	Email string `json:"email,omitempty"`
	// Password is a hash; see package identity. A user without one cannot log in.
	Password string `json:"password,omitempty"`
	// Groups are those that an administrator chose. Every user is in groupDefault, too.
	Groups []string `json:"groups"`
	// Extension is what clients store, such as public keys for SSH.
	Extension map[string]json.RawMessage `json:"extension,omitempty"`
	// Kinds are the kinds of tokens, by their IDs; others are those of paictl.
	Kinds   map[string]tokenKind `json:"kinds,omitempty"`
	Created time.Time            `json:"created,omitzero"`
}

func (a *account) clone() *account {
	if a == nil {
		return nil
	}
	c := *a
	c.Groups, c.Extension, c.Kinds = slices.Clone(a.Groups), maps.Clone(a.Extension), maps.Clone(a.Kinds)
	return &c
}

// group is a set of users and what they can use.
type group struct {
	Name         string `json:"name,omitempty"`
	Description  string `json:"description,omitempty"`
	ExternalName string `json:"externalName,omitempty"`
	ACLs         acls   `json:"acls"`
	// Extension is what clients store, without the rights.
	Extension map[string]json.RawMessage `json:"extension,omitempty"`
}

// acls are the rights of a group.
type acls struct {
	Admin           bool     `json:"admin"`
	VirtualClusters []string `json:"virtualClusters"`
	Storages        []string `json:"storageConfigs"`
}

func (g group) clone() group {
	g.ACLs.VirtualClusters, g.ACLs.Storages = slices.Clone(g.ACLs.VirtualClusters), slices.Clone(g.ACLs.Storages)
	g.Extension = maps.Clone(g.Extension)
	return g
}

// groupPattern is what a key of a Secret and a path of a URL can have.
var groupPattern = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$`)

// readAccounts adds the accounts to the users. A user whose account cannot be read
// keeps the tokens, and has only the rights of every user.
func (d *directory) readAccounts(s *corev1.Secret) error {
	var problems error
	for _, key := range keysWith(s, accountPrefix) {
		name := strings.TrimPrefix(key, accountPrefix)
		if !userPattern.MatchString(name) {
			problems = errors.Join(problems, fmt.Errorf("secret %s: invalid user name %q", s.Name, name))
			continue
		}
		a := &account{}
		if json.Unmarshal(s.Data[key], a) != nil { // its error can quote a hash
			problems = errors.Join(problems, fmt.Errorf("%s of secret %s is not valid JSON of an account", key, s.Name))
			a = &account{}
		}
		i := slices.IndexFunc(d.Users, func(u user) bool { return u.Name == name })
		if i < 0 {
			if _, damaged := s.Data[entryPrefix+name]; damaged {
				continue // is reported, and locked out
			}
			i, d.Users = len(d.Users), append(d.Users, user{Name: name})
		}
		d.Users[i].account = a
	}
	return problems
}

func (d *directory) readGroups(s *corev1.Secret) error {
	var problems error
	for _, key := range keysWith(s, groupPrefix) {
		g := group{}
		name := strings.TrimPrefix(key, groupPrefix)
		if json.Unmarshal(s.Data[key], &g) != nil || !groupPattern.MatchString(name) {
			problems = errors.Join(problems, fmt.Errorf("%s of secret %s is not a valid group", key, s.Name))
			g = group{} // without rights
		}
		g.Name = name
		d.groups = append(d.groups, g)
	}
	return problems
}

// encodeAccounts returns the data of the Secret with accounts and groups.
func (d directory) encodeAccounts() (map[string][]byte, error) {
	data := map[string][]byte{}
	for _, u := range d.Users {
		if u.account == nil {
			continue
		}
		text, err := json.Marshal(u.account)
		if err != nil {
			return nil, fmt.Errorf("encode the account of user %q: %w", u.Name, err)
		}
		data[accountPrefix+u.Name] = text
	}
	for _, g := range d.groups {
		key := groupPrefix + g.Name
		g.Name = "" // is in the key
		text, err := json.Marshal(g)
		if err != nil {
			return nil, fmt.Errorf("encode the groups: %w", err)
		}
		data[key] = text
	}
	return data, nil
}
