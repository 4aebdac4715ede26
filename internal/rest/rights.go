package rest

import (
	"maps"
	"slices"

	"pai.dev/pai/internal/job"
)

// The groups that always exist, besides one for each virtual cluster.
const (
	groupAdmin   = "adminGroup"
	groupDefault = job.DefaultVirtualCluster
)

// tokenKind is what a token is for.
type tokenKind string

const (
	tokenOfLogin       tokenKind = "login"
	tokenOfApplication tokenKind = "application"
)

// builtIn returns a group that always exists.
func (d directory) builtIn(name string) (group, bool) {
	g := group{Name: name, ACLs: acls{VirtualClusters: []string{}, Storages: []string{}}}
	isVC := d.hasVirtualCluster(name)
	switch {
	case name == groupAdmin:
		g.Description, g.ACLs.Admin = "administrators", true
	case name == groupDefault:
		g.Description = "all users"
	case isVC:
		g.Description = "users of virtual cluster " + name
	default:
		return group{}, false
	}
	if isVC {
		g.ACLs.VirtualClusters = []string{name}
	}
	return g, true
}

func (d directory) hasVirtualCluster(name string) bool {
	return slices.Contains(d.virtualClusters, name)
}

// group returns a group by its name: as it is stored, or as it always exists.
func (d directory) group(name string) (group, bool) {
	i := slices.IndexFunc(d.groups, func(g group) bool { return g.Name == name })
	if i < 0 {
		return d.builtIn(name)
	}
	g := d.groups[i]
	if name == groupAdmin {
		g.ACLs.Admin = true // a cluster without administrators could not be repaired by users
	}
	return g, true
}

func (d directory) hasGroup(name string) bool {
	_, found := d.group(name)
	return found
}

// removeMembers removes all members from a group. The group of a virtual cluster that was
// removed still has some: a new group of its name must begin without them.
func (d *directory) removeMembers(name string) {
	for _, u := range d.Users {
		if u.account != nil {
			u.account.Groups = slices.DeleteFunc(u.account.Groups, func(g string) bool { return g == name })
		}
	}
}

// allGroups returns all groups, sorted by name.
func (d directory) allGroups() []group {
	names := map[string]bool{groupAdmin: true, groupDefault: true}
	for _, vc := range d.virtualClusters {
		names[vc] = true
	}
	for _, g := range d.groups {
		names[g.Name] = true
	}
	var all []group
	for _, name := range slices.Sorted(maps.Keys(names)) {
		g, _ := d.group(name)
		all = append(all, g)
	}
	return all
}

// groupsOf returns the names of the groups of a user. Users without an account, such as
// those of v0.10, are in the group of all users and, as their entry says, in that of
// administrators.
func (d directory) groupsOf(u user) []string {
	groups := []string{groupDefault}
	if u.account != nil {
		groups = append(groups, u.account.Groups...)
	}
	if u.Name == AdminUser || u.account == nil && u.Admin {
		groups = append(groups, groupAdmin)
	}
	slices.Sort(groups)
	return slices.Compact(groups)
}

// caller returns a user with the rights that the groups give.
func (d directory) caller(u user, t token) Caller {
	c := Caller{Name: u.Name, Application: u.account != nil && u.account.Kinds[t.id()] == tokenOfApplication}
	vcs, storages := map[string]bool{}, map[string]bool{}
	for _, name := range d.groupsOf(u) {
		g, ok := d.group(name)
		if !ok {
			continue
		}
		c.Admin = c.Admin || g.ACLs.Admin
		for _, vc := range g.ACLs.VirtualClusters {
			vcs[vc] = true
		}
		for _, s := range g.ACLs.Storages {
			storages[s] = true
		}
	}
	for _, s := range d.storages {
		if c.Admin || slices.ContainsFunc(d.groupsOf(u), func(name string) bool { return slices.Contains(s.Groups, name) && d.hasGroup(name) }) {
			storages[s.Name] = true
		}
	}
	if c.Admin {
		for _, vc := range d.virtualClusters {
			vcs[vc] = true
		}
	}
	c.VirtualClusters, c.Storages = slices.Sorted(maps.Keys(vcs)), slices.Sorted(maps.Keys(storages))
	return c
}

// mirrorAdmins writes for servers of v0.10 who is an administrator.
func (d *directory) mirrorAdmins() {
	for i, u := range d.Users {
		if u.account != nil {
			d.Users[i].Admin = d.caller(u, token{}).Admin
		}
	}
}
