package job

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

func (r *reader) taskRoles(top object, job *Spec, s scope) {
	n := top.need("taskRoles")
	if n == nil {
		return
	}
	roles := r.object(n, top.key["taskRoles"], "taskRoles")
	if roles.fields != nil && len(roles.keys) == 0 {
		r.fail(top.key["taskRoles"], "taskRoles", "must have at least one task role")
	}
	if len(roles.keys) > MaxTaskRoles {
		r.fail(n, "taskRoles", "%d task roles; at most %d are accepted", len(roles.keys), MaxTaskRoles)
		return
	}
	for _, name := range roles.keys {
		key := roles.key[name]
		switch {
		case !roleNamePattern.MatchString(name):
			r.fail(key, roles.child(name), "a task role's name may hold letters, digits and _ only, and starts with no digit")
		case len(name) > 255:
			r.fail(key, "taskRoles", "a task role's name may be at most 255 characters long")
		}
		role := r.taskRole(roles.fields[name], key, roles.child(name), s)
		role.Name = name
		job.TaskRoles = append(job.TaskRoles, role)
	}
}

func (r *reader) taskRole(n, key *yaml.Node, path string, s scope) TaskRole {
	o := r.object(n, key, path, roleFields...)
	role := TaskRole{
		Instances:  int(o.integer("instances", 1, 1, MaxInstances)),
		RetryCount: int(o.integer("taskRetryCount", 0, 0, 1000)),
	}
	r.completion(o, &role)
	s.role = r.roleScope(o, s)
	if n := o.need("dockerImage"); n != nil {
		if p, ok := r.reference(o, n, "dockerImage", "dockerimage", s.prerequisites); ok && len(p.uris) > 0 {
			role.Image = p.uris[0]
		}
	}
	r.resources(o, &role)
	if n := o.get("extraContainerOptions"); n != nil {
		extra := r.object(n, o.key["extraContainerOptions"], o.child("extraContainerOptions"), "shmMB", "infiniband")
		role.ShmMB = extra.integer("shmMB", 0, 1, 1<<24)
		if v := extra.get("infiniband"); v != nil && v.Value != "false" {
			r.fail(extra.key["infiniband"], extra.child("infiniband"), "InfiniBand is not supported")
		}
	}
	if n := o.get("prerequisites"); n != nil && len(n.Content) > 0 {
		r.warn(o.key["prerequisites"], o.child("prerequisites"), "has no effect here: the image must bring what the task needs")
	}
	role.Commands = r.commands(o, s)
	return role
}

// roleScope finds what a role's script, data and output fields refer to.
func (r *reader) roleScope(o object, s scope) map[string]prerequisite {
	found := map[string]prerequisite{}
	for _, kind := range []string{"script", "data", "output"} {
		if n := o.get(kind); n != nil {
			if p, ok := r.reference(o, n, kind, kind, s.prerequisites); ok {
				found[kind] = p
			}
		}
	}
	return found
}

// reference resolves a field that names a prerequisite of a kind.
func (r *reader) reference(o object, n *yaml.Node, field, kind string, all map[string]prerequisite) (prerequisite, bool) {
	name, ok := o.text(n, o.child(field))
	if !ok {
		return prerequisite{}, false
	}
	p, ok := all[kind+"/"+name]
	if !ok {
		var names []string
		for _, other := range all {
			if other.kind == kind {
				names = append(names, other.name)
			}
		}
		slices.Sort(names)
		hint := ""
		if near := nearest(name, names); near != "" {
			hint = fmt.Sprintf("; did you mean %q?", near)
		}
		r.fail(n, o.child(field), "no prerequisite of type %s is named %q%s", kind, name, hint)
	}
	return p, ok
}

// completion reads when a role decides the job. Defaults are the protocol's:
// one failed task fails the job, and the job succeeds when all tasks of one
// role have.
//
// A role runs as one Indexed Job. Kubernetes fails such a Job whenever its last
// index ends while any has failed, even if that very index completes the
// success policy; so failed tasks cannot be tolerated without now and then
// failing a job that has succeeded. What cannot be honoured is refused rather
// than run with another meaning.
func (r *reader) completion(o object, role *TaskRole) {
	role.MinSucceeded = role.Instances
	n := o.get("completion")
	if n == nil {
		return
	}
	c := r.object(n, o.key["completion"], o.child("completion"), "minFailedInstances", "minSucceededInstances")
	role.MinSucceeded = int(c.integer("minSucceededInstances", int64(role.Instances), -1, int64(role.Instances)))
	if role.MinSucceeded == 0 {
		r.fail(c.fields["minSucceededInstances"], c.child("minSucceededInstances"), "must be at least 1, or -1")
	}
	path := c.child("minFailedInstances")
	switch failed := c.integer("minFailedInstances", 1, -1, MaxInstances); {
	case failed == 0:
		r.fail(c.fields["minFailedInstances"], path, "must be at least 1, or -1")
	case failed != 1:
		r.fail(c.fields["minFailedInstances"], path,
			"must be 1, not %d: a job that goes on with failed tasks is not supported; let taskRetryCount try them again, or the commands end with exit 0", failed)
	}
}

func (r *reader) resources(o object, role *TaskRole) {
	n := o.need("resourcePerInstance")
	if n == nil {
		return
	}
	res := r.object(n, o.key["resourcePerInstance"], o.child("resourcePerInstance"), "cpu", "memoryMB", "gpu", "ports")
	role.CPUMilli = res.milli("cpu", 4096)
	if res.need("memoryMB") != nil {
		role.MemoryMB = res.integer("memoryMB", 0, 1, 1<<24)
	}
	if res.need("gpu") != nil {
		role.GPU = res.integer("gpu", 0, 0, 64)
	}
	if n := res.get("ports"); n != nil && len(n.Content) > 0 {
		r.fail(res.key["ports"], res.child("ports"), "reserved ports are not supported, nor needed: every task has an address of its own, on which all ports are free")
	}
}

func (r *reader) commands(o object, s scope) []string {
	n := o.need("commands")
	if n == nil {
		return nil
	}
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
		r.fail(n, o.child("commands"), "must be a list of at least one string")
		return nil
	}
	commands := make([]string, 0, len(n.Content))
	for i, item := range n.Content {
		path := fmt.Sprintf("%s[%d]", o.child("commands"), i)
		command, ok := o.text(item, path)
		if !ok {
			continue
		}
		command, missing := s.render(command)
		for _, m := range missing {
			r.fail(item, path, "%s", m)
		}
		commands = append(commands, strings.TrimRight(command, "\n"))
	}
	return commands
}
