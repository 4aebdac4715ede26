package rest

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// UsersForm is the form of the Secret with the users.
type UsersForm string

// The forms. A release stores the users in one of them; UsersMigration converts
// between them.
const (
	// UsersDocument is the form of v0.9: one key with a JSON document of all
	// users. A change of one user writes all of them.
	UsersDocument UsersForm = "document"
	// UsersByEntry is the form of v0.10: one key per user, so that each can be
	// added, changed, and removed alone.
	UsersByEntry UsersForm = "entries"
)

const (
	usersKey    = "users.json" // of UsersDocument
	entryPrefix = "user."      // of UsersByEntry, before the user's name
	// Accounts and groups have keys beside the users, in both forms: v0.9 and v0.10
	// ignore them, and keep them when they write users.
	accountPrefix = "account." // before the user's name
	groupPrefix   = "group."   // before the group's name
)

// ParseUsersForm reads a form's name.
func ParseUsersForm(s string) (UsersForm, error) {
	switch f := UsersForm(s); f {
	case UsersDocument, UsersByEntry:
		return f, nil
	}
	return "", fmt.Errorf("unknown form of users %q, want %s or %s", s, UsersDocument, UsersByEntry)
}

// formOf is the form of a Secret; empty if it has no users. A Secret with both
// forms counts as UsersByEntry.
func formOf(s *corev1.Secret) UsersForm {
	if len(entryKeys(s)) > 0 {
		return UsersByEntry
	}
	if len(s.Data[usersKey]) > 0 {
		return UsersDocument
	}
	return ""
}

func entryKeys(s *corev1.Secret) []string { return keysWith(s, entryPrefix) }

func keysWith(s *corev1.Secret, prefix string) []string {
	var keys []string
	for _, key := range slices.Sorted(maps.Keys(s.Data)) {
		if strings.HasPrefix(key, prefix) {
			keys = append(keys, key)
		}
	}
	return keys
}

// ownData is the part of a Secret that a directory is encoded to.
func ownData(s *corev1.Secret) map[string][]byte {
	data := map[string][]byte{}
	for key, value := range s.Data {
		if key == usersKey || strings.HasPrefix(key, entryPrefix) || strings.HasPrefix(key, accountPrefix) || strings.HasPrefix(key, groupPrefix) {
			data[key] = value
		}
	}
	return data
}

// readDirectory reads a Secret like a release with that form. v0.9 reads only
// the document. Later releases read both; an entry overrides the document. It leaves
// out what cannot be read, and returns an error with all of that.
func readDirectory(s *corev1.Secret, form UsersForm) (directory, error) {
	d, problems := readUsers(s, form)
	problems = errors.Join(problems, d.readAccounts(s), d.readGroups(s))
	return d, problems
}

func readUsers(s *corev1.Secret, form UsersForm) (directory, error) {
	var d directory
	document, problems := readDocument(s)
	if form != UsersDocument {
		for _, key := range entryKeys(s) {
			name := strings.TrimPrefix(key, entryPrefix)
			document.Users = slices.DeleteFunc(document.Users, func(u user) bool { return u.Name == name })
			u, err := readEntry(s, key)
			if err != nil {
				problems = errors.Join(problems, err)
				continue
			}
			d.Users = append(d.Users, u)
		}
	}
	d.Users = append(document.Users, d.Users...)
	return d, problems
}

func readDocument(s *corev1.Secret) (directory, error) {
	var d directory
	if len(s.Data[usersKey]) == 0 {
		return d, nil
	}
	if json.Unmarshal(s.Data[usersKey], &d) != nil { // its error can quote a hash
		return directory{}, fmt.Errorf("%s of secret %s is not valid JSON of users", usersKey, s.Name)
	}
	var problems error
	d.Users = slices.DeleteFunc(d.Users, func(u user) bool {
		if userPattern.MatchString(u.Name) {
			return false
		}
		problems = errors.Join(problems, fmt.Errorf("secret %s: invalid user name %q", s.Name, u.Name))
		return true
	})
	return d, problems
}

func readEntry(s *corev1.Secret, key string) (u user, err error) {
	if json.Unmarshal(s.Data[key], &u) != nil { // its error can quote a hash
		return u, fmt.Errorf("%s of secret %s is not valid JSON of a user", key, s.Name)
	}
	if u.Name = strings.TrimPrefix(key, entryPrefix); !userPattern.MatchString(u.Name) {
		return u, fmt.Errorf("secret %s: invalid user name %q", s.Name, u.Name)
	}
	return u, nil
}

// encode returns the data of the Secret in a form.
func (d directory) encode(form UsersForm) (map[string][]byte, error) {
	data, err := d.encodeAccounts()
	if err != nil {
		return nil, err
	}
	if form == UsersDocument {
		document, err := json.Marshal(d)
		if err != nil {
			return nil, fmt.Errorf("encode the users: %w", err)
		}
		data[usersKey] = document
		return data, nil
	}
	for _, u := range d.Users {
		key := entryPrefix + u.Name
		u.Name = "" // is in the key
		entry, err := json.Marshal(u)
		if err != nil {
			return nil, fmt.Errorf("encode the users: %w", err)
		}
		data[key] = entry
	}
	return data, nil
}
