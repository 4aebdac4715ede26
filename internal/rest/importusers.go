package rest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"pai.dev/pai/internal/identity"
	"pai.dev/pai/internal/openpaisecrets"
	"pai.dev/pai/internal/pai"
)

// ImportReport says what an import does, or would do.
type ImportReport struct {
	DryRun bool            `json:"dryRun"`
	Groups []ImportedGroup `json:"groups"`
	Users  []ImportedUser  `json:"users"`
}

// ImportResult is what an import does with a user or a group.
type ImportResult string

const (
	ImportCreated ImportResult = "created"
	// ImportKept means that it exists, and that the import does not change it.
	ImportKept ImportResult = "exists"
)

// ImportedGroup is a group of an import.
type ImportedGroup struct {
	Name   string       `json:"name"`
	Result ImportResult `json:"result"`
	// Notes say what was not imported, each with what to do.
	Notes []string `json:"notes,omitempty"`
}

// ImportedUser is a user of an import.
type ImportedUser struct {
	Name     string       `json:"name"`
	Result   ImportResult `json:"result"`
	Admin    bool         `json:"admin"`
	Password bool         `json:"password"` // can log in with the password of OpenPAI
	Tokens   int          `json:"tokens"`   // application tokens that stay valid
	Groups   []string     `json:"groups"`
	Notes    []string     `json:"notes,omitempty"`
}

// Import adds users, groups, and application tokens of an OpenPAI cluster in one write:
// all of them, or none if one is not valid. Users and groups that exist stay as they
// are, so a second import changes nothing. A dry run writes nothing.
func (a Accounts) Import(ctx context.Context, e openpaisecrets.Export, dryRun bool) (ImportReport, error) {
	if err := checkImport(e); err != nil {
		return ImportReport{}, err
	}
	var report ImportReport
	run := func(d *directory) error {
		report = d.importAll(e, time.Now())
		report.DryRun = dryRun
		return nil
	}
	if !dryRun {
		err := a.change(ctx, run)
		return report, err
	}
	d, err := a.directory(ctx)
	if err != nil {
		return report, err
	}
	d = d.clone()
	err = run(&d)
	return report, err
}

// checkImport returns an error with all that cannot be stored.
func checkImport(e openpaisecrets.Export) error {
	if len(e.Users)+len(e.Groups) == 0 {
		return pai.Errorf(pai.CodeInvalid, "run in the old cluster: kubectl get secrets -n pai-user-v2 -o json", "there are neither users nor groups of OpenPAI in the files")
	}
	var problems []string
	names, groups := map[string]bool{}, map[string]bool{}
	for _, u := range e.Users {
		_, err := identity.ImportedHash(u.PasswordKey)
		switch {
		case !userPattern.MatchString(u.Name):
			problems = append(problems, fmt.Sprintf("user %q: a name has letters, digits, and _ . - inside, and at most 63 of them", u.Name))
		case names[u.Name]:
			problems = append(problems, fmt.Sprintf("user %q is a duplicate", u.Name))
		case u.PasswordKey != "" && err != nil:
			problems = append(problems, fmt.Sprintf("user %q: the password is not a PBKDF2 key of OpenPAI", u.Name))
		case len(u.Email) > maxEmail || u.Email != "" && !emailPattern.MatchString(u.Email):
			problems = append(problems, fmt.Sprintf("user %q: invalid email address", u.Name))
		case checkExtension(u.Extension) != nil:
			problems = append(problems, fmt.Sprintf("user %q: the extension has more than %d bytes", u.Name, maxExtension))
		case len(u.Groups) > maxGroupsOf:
			problems = append(problems, fmt.Sprintf("user %q is in %d groups; the limit is %d", u.Name, len(u.Groups), maxGroupsOf))
		}
		names[u.Name] = true
	}
	for _, g := range e.Groups {
		_, err := group{}.with(changeOf(g), g.VirtualClusters)
		switch {
		case !groupPattern.MatchString(g.Name):
			problems = append(problems, fmt.Sprintf("group %q: a name has letters, digits, and _ . - inside, and at most 63 of them", g.Name))
		case groups[g.Name]:
			problems = append(problems, fmt.Sprintf("group %q is a duplicate", g.Name))
		case err != nil:
			problems = append(problems, fmt.Sprintf("group %q: %v", g.Name, err))
		}
		groups[g.Name] = true
	}
	if len(problems) == 0 {
		return nil
	}
	return pai.Errorf(pai.CodeInvalid, "correct them in the old cluster, or remove them from the file", "nothing was imported:\n  %s", strings.Join(problems, "\n  "))
}

// changeOf is a group as the change that creates it.
func changeOf(g openpaisecrets.Group) GroupChange {
	vcs, storages := list(g.VirtualClusters), list(g.Storages)
	return GroupChange{Description: &g.Description, ExternalName: &g.ExternalName, Extension: g.Extension,
		Rights: &RightsChange{Admin: &g.Admin, VirtualClusters: &vcs, Storages: &storages}}
}

// importAll adds the groups first, which the users are in.
func (d *directory) importAll(e openpaisecrets.Export, now time.Time) ImportReport {
	r := ImportReport{Groups: []ImportedGroup{}, Users: []ImportedUser{}}
	for _, g := range e.Groups {
		r.Groups = append(r.Groups, d.importGroup(g))
	}
	tokens := map[string][]openpaisecrets.Token{}
	for _, t := range e.Tokens {
		tokens[t.User] = append(tokens[t.User], t)
	}
	for _, u := range e.Users {
		r.Users = append(r.Users, d.importUser(u, tokens[u.Name], now))
	}
	return r
}

// importGroup adds a group without the virtual clusters that do not exist.
func (d *directory) importGroup(g openpaisecrets.Group) ImportedGroup {
	found := ImportedGroup{Name: g.Name, Result: ImportCreated}
	var absent []string
	g.VirtualClusters = slices.DeleteFunc(slices.Clone(g.VirtualClusters), func(vc string) bool {
		missing := !slices.Contains(d.virtualClusters, vc)
		if missing {
			absent = append(absent, vc)
		}
		return missing
	})
	if len(absent) > 0 {
		found.Notes = append(found.Notes, "no right to virtual clusters that do not exist: "+strings.Join(absent, ", "))
	}
	if stored, exists := d.group(g.Name); exists {
		found.Result = ImportKept
		if lost := missing(g.VirtualClusters, stored.ACLs.VirtualClusters); len(lost) > 0 {
			found.Notes = append(found.Notes, fmt.Sprintf("not added: the right to %s; run: paictl group update %s --virtual-clusters %s",
				strings.Join(lost, ", "), g.Name, strings.Join(append(slices.Clone(stored.ACLs.VirtualClusters), lost...), ",")))
		}
		if g.Admin && !stored.ACLs.Admin {
			found.Notes = append(found.Notes, "not added: the right to administer; run: paictl group update "+g.Name+" --admin")
		}
		return found
	}
	created, err := group{Name: g.Name}.with(changeOf(g), d.virtualClusters)
	if err != nil { // checkImport has checked all of it
		found.Result, found.Notes = ImportKept, append(found.Notes, err.Error())
		return found
	}
	d.removeMembers(g.Name)
	d.groups = append(d.groups, created)
	return found
}

// missing lists what of some names is not in others.
func missing(names, others []string) []string {
	return slices.DeleteFunc(distinct(names), func(n string) bool { return slices.Contains(others, n) })
}

// importUser adds a user with the password and the application tokens of OpenPAI.
func (d *directory) importUser(u openpaisecrets.User, tokens []openpaisecrets.Token, now time.Time) ImportedUser {
	found := ImportedUser{Name: u.Name, Result: ImportCreated}
	if existing, exists := d.user(u.Name); exists {
		info := d.info(*existing)
		found.Result, found.Admin, found.Groups, found.Password, found.Tokens = ImportKept, info.Admin, info.Groups, info.CanLogIn, info.Tokens
		return found
	}
	a := &account{Email: u.Email, Extension: u.Extension, Created: now.UTC(), Kinds: map[string]tokenKind{}}
	if hash, err := identity.ImportedHash(u.PasswordKey); err == nil {
		a.Password = hash
	} else {
		found.Notes = append(found.Notes, "no password; run: paictl user update "+u.Name+" --password")
	}
	created := user{Name: u.Name, account: a}
	groups := slices.DeleteFunc(slices.Clone(u.Groups), func(name string) bool {
		_, exists := d.group(name)
		if !exists {
			found.Notes = append(found.Notes, fmt.Sprintf("group %q does not exist", name))
		}
		return !exists
	})
	if err := d.setGroups(&created, groups); err != nil { // checkImport has checked all of it
		found.Notes = append(found.Notes, err.Error())
		a.Groups = []string{}
	}
	found.Notes = append(found.Notes, created.importTokens(tokens, now)...)
	d.Users = append(d.Users, created)
	info := d.info(created)
	found.Admin, found.Groups, found.Password, found.Tokens = info.Admin, info.Groups, info.CanLogIn, len(created.Tokens)
	return found
}

// importTokens adds application tokens, which clients keep using. Those of OpenPAI do
// not end; here they end like new ones.
func (u *user) importTokens(tokens []openpaisecrets.Token, now time.Time) (notes []string) {
	public, surplus := 0, 0
	for _, t := range tokens {
		fresh := token{SHA256: hashToken(t.Text), Created: now.UTC().Truncate(time.Second),
			Expires: now.Add(MaxTokenLife).UTC().Truncate(time.Second), Note: string(tokenOfApplication)}
		switch {
		case t.DefaultKey:
			public++
		case len(u.Tokens) >= maxApplications:
			surplus++
		case !slices.ContainsFunc(u.Tokens, func(o token) bool { return o.id() == fresh.id() }):
			u.Tokens = append(u.Tokens, fresh)
			u.account.Kinds[fresh.id()] = tokenOfApplication
		}
	}
	if public > 0 {
		notes = append(notes, fmt.Sprintf("%d application tokens are refused: they are signed with the default key of OpenPAI, so that others can compute them; the user creates new ones", public))
	}
	if surplus > 0 {
		notes = append(notes, fmt.Sprintf("%d application tokens above the limit of %d are left out", surplus, maxApplications))
	}
	return notes
}
