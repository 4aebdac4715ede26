package job

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"pai.dev/pai/internal/yamldoc"
)

func (o object) taskRoles(job *Spec, s scope) {
	n := o.need("taskRoles")
	if n == nil {
		return
	}
	roles := o.nested("taskRoles")
	if roles.valid && len(roles.names) == 0 {
		o.problemKey("taskRoles", "must have at least one task role")
	}
	if len(roles.names) > MaxTaskRoles {
		o.problemValue("taskRoles", "has %d task roles; the limit is %d, what the queue admits together", len(roles.names), MaxTaskRoles)
		return
	}
	scripts := 0
	for _, name := range roles.names {
		switch {
		case !roleNamePattern.MatchString(name):
			roles.problemKey(name, "the name of a task role can have letters, digits, and _ only, and cannot start with a digit")
		case len(name) > 255:
			o.Problem(roles.fields[name].Key, "taskRoles", "the name of a task role can have at most 255 characters")
		}
		role := o.taskRole(name, roles.fields[name], roles.child(name), s)
		job.TaskRoles = append(job.TaskRoles, role)
		scripts += len(taskScript(role))
	}
	if scripts > MaxScripts {
		o.problemValue("taskRoles", "the commands of all task roles come to %d bytes; the limit is %d", scripts, MaxScripts)
	}
}

func (r reader) taskRole(name string, f yamldoc.Field, path string, s scope) TaskRole {
	o := r.object(f.Value, f.Key, path, roleFields...)
	role := TaskRole{
		Name:       name,
		Instances:  int(o.integer("instances", 1, 1, MaxInstances)),
		RetryCount: int(o.integer("taskRetryCount", 0, 0, 1000)),
	}
	o.completion(&role)
	s.role = map[string]prerequisite{}
	for _, kind := range []string{"script", "data", "output"} {
		if n := o.get(kind); n != nil {
			if p, ok := o.reference(n, kind, kind, s.prerequisites); ok {
				s.role[kind] = p
			}
		}
	}
	if n := o.need("dockerImage"); n != nil {
		if p, ok := o.reference(n, "dockerImage", "dockerimage", s.prerequisites); ok && len(p.uris) > 0 {
			role.Image = p.uris[0]
		}
	}
	o.resources(&role)
	if extra := o.nested("extraContainerOptions", "shmMB", "infiniband"); extra != nil {
		role.ShmMB = extra.integer("shmMB", 0, 1, 1<<24)
		if v := extra.get("infiniband"); v != nil && v.Value != "false" {
			extra.problemKey("infiniband", "this release gives tasks no InfiniBand devices")
		}
	}
	s.secrets.touched = false
	size := o.plugins(&role, s)
	role.Commands = o.commands(s, s.deployed[name], max(size, len(taskScript(role))))
	role.Secret = s.secrets.touched
	return role
}

// reference resolves a field that names a prerequisite of a kind.
func (o object) reference(n *yaml.Node, field, kind string, all map[string]prerequisite) (prerequisite, bool) {
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
		o.problemValue(field, "prerequisite %q of type %s not found%s", yamldoc.Shorten(name), kind, o.suggest(name, names))
	}
	return p, ok
}

// completion reads when a role decides the result of the job. Defaults are those
// of the protocol: one failed task fails the job, and the job succeeds when all
// tasks of one role have succeeded. Spec.failurePolicy has what follows from a role
// that tolerates failed tasks.
func (o object) completion(role *TaskRole) {
	role.MinFailed, role.MinSucceeded = 1, role.Instances
	c := o.nested("completion", "minFailedInstances", "minSucceededInstances")
	if c == nil {
		return
	}
	role.MinSucceeded = int(c.integer("minSucceededInstances", int64(role.Instances), -1, int64(role.Instances)))
	if role.MinSucceeded == 0 {
		c.problemValue("minSucceededInstances", "must be at least 1, or -1")
	}
	role.MinFailed = int(c.integer("minFailedInstances", 1, -1, MaxInstances))
	if role.MinFailed == 0 {
		c.problemValue("minFailedInstances", "must be at least 1, or -1")
	}
}

func (o object) resources(role *TaskRole) {
	if o.need("resourcePerInstance") == nil {
		return
	}
	res := o.nested("resourcePerInstance", "cpu", "memoryMB", "gpu", "ports")
	role.CPUMilli = res.milli("cpu", 4096)
	if res.need("memoryMB") != nil {
		role.MemoryMB = res.integer("memoryMB", 0, MinMemoryMB, 1<<24)
	}
	if res.need("gpu") != nil {
		role.GPU = res.integer("gpu", 0, 0, 64)
	}
	role.Ports = res.ports()
}

// commands reads the commands of a role between those of its deployment; size is what
// its script has besides.
func (o object) commands(s scope, d deployedRole, size int) (commands []string) {
	n := o.need("commands")
	if n == nil {
		return nil
	}
	add := func(item *yaml.Node, path, command string) {
		command, rendered, missing := s.render(command, MaxScript-size)
		for _, m := range missing {
			o.Problem(item, path, "%s", m)
		}
		trimmed := strings.TrimRight(command, "\n")
		if size += rendered - len(command) + len(trimmed) + len("\n"); size <= MaxScript {
			commands = append(commands, trimmed)
		}
	}
	d.before.each(o.reader, add)
	o.texts(n, o.child("commands"), add)
	d.after.each(o.reader, add)
	if size > MaxScript {
		o.problemValue("commands", "the commands come to %d bytes with their references filled in; the limit is %d, the longest argument of a program", size, MaxScript)
	}
	return commands
}
