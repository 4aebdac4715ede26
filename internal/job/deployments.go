package job

import (
	"fmt"
	"maps"
	"slices"

	"go.yaml.in/yaml/v3"

	"pai.dev/pai/internal/yamldoc"
)

// deployedRole is what the chosen deployment adds to the commands of a task role.
type deployedRole struct{ before, after commandList }

// commandList is a list of commands in the document.
type commandList struct {
	node *yaml.Node // nil: none
	path string
}

func (l commandList) each(r reader, do func(item *yaml.Node, path, text string)) {
	if l.node != nil {
		r.texts(l.node, l.path, do)
	}
}

// deployments reads all deployments, and returns what the one that defaults.deployment
// names does, by task role. The others have no effect: that is their meaning.
func (o object) deployments(job *Spec) map[string]deployedRole {
	var chosen *yaml.Node
	var path string
	if d := o.quietly("defaults"); d != nil {
		chosen, path = d.get("deployment"), d.child("deployment")
	}
	all := map[string]map[string]deployedRole{}
	if n := o.get("deployments"); n != nil && n.Kind != yaml.SequenceNode {
		o.problemValue("deployments", "must be a list, not %s", yamldoc.Describe(n))
	} else if n != nil {
		for i, item := range n.Content {
			o.deployment(item, fmt.Sprintf("deployments[%d]", i), all)
		}
	}
	if chosen == nil {
		return nil
	}
	name, ok := o.text(chosen, path)
	if !ok {
		return nil
	}
	roles, ok := all[name]
	if !ok {
		o.Problem(chosen, path, "deployment %q not found%s", yamldoc.Shorten(name), o.suggest(name, slices.Sorted(maps.Keys(all))))
		return nil
	}
	for _, role := range slices.Sorted(maps.Keys(roles)) {
		job.effect("deployments."+name+".taskRoles."+role, "its commands run in the script of each task, before and after those of the task role")
	}
	return roles
}

func (o object) deployment(item *yaml.Node, path string, all map[string]map[string]deployedRole) {
	d := o.object(item, item, path, "name", "taskRoles")
	n := d.need("name")
	if n == nil {
		return
	}
	name, ok := d.text(n, d.child("name"))
	if _, twice := all[name]; twice && ok {
		d.problemValue("name", "duplicate deployment %q", yamldoc.Shorten(name))
	}
	roles := map[string]deployedRole{}
	all[name] = roles
	inner := d.nested("taskRoles")
	if inner == nil {
		return
	}
	known := o.quietly("taskRoles")
	for _, role := range inner.names {
		if known == nil || known.fields[role].Key == nil {
			inner.problemKey(role, "task role %q not found", yamldoc.Shorten(role))
			continue
		}
		part := inner.nested(role, "preCommands", "postCommands")
		if part == nil {
			continue
		}
		list := func(field string) commandList {
			l := commandList{part.get(field), part.child(field)}
			l.each(o.reader, func(*yaml.Node, string, string) {})
			return l
		}
		roles[role] = deployedRole{list("preCommands"), list("postCommands")}
	}
}
