package rest

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
)

const (
	maxDescription = 1024
	maxRights      = 256 // virtual clusters or storages of a group
	aclsKey        = "acls"
)

// GroupInfo is a group as clients see it, in the shape of OpenPAI: the rights are in
// the extension.
type GroupInfo struct {
	Name         string                     `json:"groupname"`
	Description  string                     `json:"description"`
	ExternalName string                     `json:"externalName"`
	Extension    map[string]json.RawMessage `json:"extension"`
}

// Rights are what a group gives to its members.
type Rights struct {
	Admin           bool     `json:"admin"`
	VirtualClusters []string `json:"virtualClusters"`
	Storages        []string `json:"storageConfigs"`
}

// Rights returns the rights of the group.
func (g GroupInfo) Rights() Rights {
	var r Rights
	_ = json.Unmarshal(g.Extension[aclsKey], &r) // info has encoded it
	return r
}

// GroupChange is what to change of a group; nil keeps a value.
type GroupChange struct {
	Description  *string
	ExternalName *string
	Rights       *RightsChange
	Extension    map[string]json.RawMessage // without the rights
	Replace      bool                       // the extension; otherwise its keys are merged
}

// RightsChange is what to change of the rights; nil keeps a value.
type RightsChange struct {
	Admin           *bool     `json:"admin"`
	VirtualClusters *[]string `json:"virtualClusters"`
	Storages        *[]string `json:"storageConfigs"`
}

// Member is a user in a group.
type Member struct {
	Username string `json:"username"`
	Admin    bool   `json:"clusterAdmin"`
}

func (g group) info() GroupInfo {
	extension := map[string]json.RawMessage{}
	maps.Copy(extension, g.Extension)
	rights, err := json.Marshal(Rights{g.ACLs.Admin, list(g.ACLs.VirtualClusters), list(g.ACLs.Storages)})
	if err != nil {
		panic(err) // it has only strings
	}
	extension[aclsKey] = rights
	return GroupInfo{Name: g.Name, Description: g.Description, ExternalName: g.ExternalName, Extension: extension}
}

// Groups returns all groups by name.
func (a Accounts) Groups(ctx context.Context) ([]GroupInfo, error) {
	d, err := a.directory(ctx)
	groups := []GroupInfo{}
	for _, g := range d.allGroups() {
		groups = append(groups, g.info())
	}
	return groups, err
}

// Group returns a group.
func (a Accounts) Group(ctx context.Context, name string) (GroupInfo, error) {
	d, err := a.directory(ctx)
	if g, found := d.group(name); found {
		return g.info(), nil
	}
	if err != nil {
		return GroupInfo{}, err
	}
	return GroupInfo{}, noGroup(name)
}

// Members returns the users in a group by name. A group that does not exist has none.
func (a Accounts) Members(ctx context.Context, name string) ([]Member, error) {
	users, err := a.List(ctx)
	members := []Member{}
	for _, u := range users {
		if slices.Contains(u.Groups, name) {
			members = append(members, Member{u.Username, u.Admin})
		}
	}
	return members, err
}

// CreateGroup adds a group.
func (a Accounts) CreateGroup(ctx context.Context, name string, c GroupChange) (GroupInfo, error) {
	if !groupPattern.MatchString(name) {
		return GroupInfo{}, invalidParameters("invalid group name %q: it has letters, digits, and _ . - inside, and at most 63 of them", name)
	}
	return a.changeGroup(ctx, name, c, func(d *directory) (group, error) {
		if _, found := d.group(name); found {
			return group{}, groupExists(name)
		}
		d.removeMembers(name)
		return group{Name: name}, nil
	})
}

// UpdateGroup changes a group, also one that always exists.
func (a Accounts) UpdateGroup(ctx context.Context, name string, c GroupChange) (GroupInfo, error) {
	return a.changeGroup(ctx, name, c, func(d *directory) (group, error) {
		g, found := d.group(name)
		if !found {
			return group{}, noGroup(name)
		}
		return g, nil
	})
}

func (a Accounts) changeGroup(ctx context.Context, name string, c GroupChange, start func(*directory) (group, error)) (GroupInfo, error) {
	var info GroupInfo
	err := a.change(ctx, func(d *directory) error {
		g, err := start(d)
		if err != nil {
			return err
		}
		if g, err = g.with(c, d.virtualClusters); err != nil {
			return err
		}
		d.groups = append(slices.DeleteFunc(d.groups, func(o group) bool { return o.Name == name }), g)
		stored, _ := d.group(name)
		info = stored.info()
		return nil
	})
	return info, err
}

func (g group) with(c GroupChange, virtualClusters []string) (group, error) {
	g = g.clone()
	for to, from := range map[*string]*string{&g.Description: c.Description, &g.ExternalName: c.ExternalName} {
		if from != nil {
			*to = *from
		}
	}
	if len(g.Description) > maxDescription || len(g.ExternalName) > maxDescription {
		return g, invalidParameters("a description has at most %d bytes", maxDescription)
	}
	if c.Replace && c.Extension != nil {
		g.Extension = nil
	}
	if len(c.Extension) > 0 {
		if g.Extension == nil {
			g.Extension = map[string]json.RawMessage{}
		}
		maps.Copy(g.Extension, c.Extension)
		delete(g.Extension, aclsKey)
	}
	if err := checkExtension(g.Extension); err != nil {
		return g, err
	}
	return g, g.setRights(c.Rights, virtualClusters)
}

func (g *group) setRights(c *RightsChange, virtualClusters []string) error {
	if c == nil {
		return nil
	}
	if c.Admin != nil {
		if g.Name == groupAdmin && !*c.Admin {
			return builtInGroup(g.Name)
		}
		g.ACLs.Admin = *c.Admin
	}
	if c.VirtualClusters != nil {
		exists := func(vc string) bool { return slices.Contains(virtualClusters, vc) }
		vcs, unknown := dropEnded(*c.VirtualClusters, g.ACLs.VirtualClusters, exists)
		if unknown != "" {
			return noVirtualCluster(unknown)
		}
		g.ACLs.VirtualClusters = distinct(vcs)
	}
	if c.Storages != nil {
		for _, s := range *c.Storages {
			if !groupPattern.MatchString(s) {
				return noStorage(s)
			}
		}
		g.ACLs.Storages = distinct(*c.Storages)
	}
	if max(len(g.ACLs.VirtualClusters), len(g.ACLs.Storages)) > maxRights {
		return invalidParameters("a group has rights on at most %d virtual clusters and storages", maxRights)
	}
	return nil
}

func distinct(values []string) []string {
	sorted := slices.Sorted(slices.Values(values))
	return list(slices.Compact(sorted))
}

// DeleteGroup removes a group, also from its members.
func (a Accounts) DeleteGroup(ctx context.Context, name string) error {
	return a.change(ctx, func(d *directory) error {
		if _, always := d.builtIn(name); always {
			return builtInGroup(name)
		}
		if _, found := d.group(name); !found {
			return noGroup(name)
		}
		d.groups = slices.DeleteFunc(d.groups, func(g group) bool { return g.Name == name })
		d.removeMembers(name)
		return nil
	})
}
