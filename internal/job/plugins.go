package job

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"pai.dev/pai/internal/yamldoc"
)

const (
	// pluginField is the field of extras with the runtime plugins.
	pluginField = "com.microsoft.pai.runtimeplugin"
	// defaultBarrier is how long the ssh barrier of the historical PAI waited.
	defaultBarrier = 5 * time.Hour
	maxBarrier     = 7 * 24 * time.Hour
	maxKeys        = 16 << 10 // bytes of public keys
	maxLog         = 1 << 10  // bytes of a directory of TensorBoard
	maxLogs        = 16
)

// plugin is a part of a job that acts in its tasks, before or after their commands.
type plugin struct {
	kind       string
	parameters object // with the parameters
	ignore     bool   // its failure
	roles      []string
	rolesAt    object
}

// Step is a separate script before or after the commands of a task.
type Step struct {
	Commands []string
	Ignore   bool // its failure
}

var (
	pluginKinds     = []string{"cmd", "git", "ssh", "teamwise_storage", "tensorboard"}
	pluginFields    = []string{"plugin", "parameters", "failurePolicy", "taskroles"}
	parameterFields = map[string][]string{
		"cmd":              {"callbacks", "preCommands", "postCommands"},
		"git":              {"repo_uri", "options", "clone_dir"},
		"ssh":              {"jobssh", "userssh", "sshbarrier", "sshbarrierTimeout"},
		"teamwise_storage": {"storageConfigNames"},
		"tensorboard":      {"port", "logdir"},
	}
	// events are when the commands of the plugin cmd run: before or after.
	events = map[string]bool{"taskStarts": true, "containerStarts": true, "taskSucceeds": false, "containerEnds": false}
)

// runtimePlugins reads the plugins of all task roles.
func (o object) runtimePlugins() (plugins []plugin) {
	n := o.get(pluginField)
	if n == nil {
		return nil
	}
	if n.Kind != yaml.SequenceNode {
		o.problemValue(pluginField, "must be a list, not %s", yamldoc.Describe(n))
		return nil
	}
	for i, item := range n.Content {
		f := o.object(item, item, fmt.Sprintf("%s[%d]", o.child(pluginField), i), pluginFields...)
		k := f.need("plugin")
		if k == nil {
			continue
		}
		kind, ok := f.text(k, f.child("plugin"))
		if !ok || !f.knowsPlugin(kind) {
			continue
		}
		parameters := f.nested("parameters", parameterFields[kind]...)
		if parameters == nil && kind == "teamwise_storage" {
			parameters = &object{reader: f.reader, path: f.child("parameters"), at: f.at}
		}
		if parameters == nil {
			f.Note(f.fields["plugin"].Key, f.path, "has no parameters and does nothing")
			continue
		}
		plugins = append(plugins, plugin{kind, *parameters, f.ignoresFailure(), f.list("taskroles"), f})
	}
	return plugins
}

func (o object) knowsPlugin(kind string) bool {
	if slices.Contains(pluginKinds, kind) {
		return true
	}
	o.problemValue("plugin", "plugin %q not found; there is %s", yamldoc.Shorten(kind), strings.Join(pluginKinds, ", "))
	return false
}

func (o object) ignoresFailure() bool {
	n := o.get("failurePolicy")
	if n == nil {
		return false
	}
	text, ok := o.text(n, o.child("failurePolicy"))
	if ok && text != "fail" && text != "ignore" {
		o.problemValue("failurePolicy", "must be fail or ignore, not %q", yamldoc.Shorten(text))
	}
	return text == "ignore"
}

func (p plugin) checkRoles(job *Spec) {
	for _, name := range p.roles {
		if !slices.ContainsFunc(job.TaskRoles, func(r TaskRole) bool { return r.Name == name }) {
			p.rolesAt.problemValue("taskroles", "task role %q not found", yamldoc.Shorten(name))
		}
	}
}

// where names the tasks that a plugin acts in.
func (p plugin) where() string {
	if len(p.roles) == 0 {
		return "each task"
	}
	return "each task of " + strings.Join(p.roles, ", ")
}

// plugins adds the steps of the plugins to a task role: those that it names in its
// prerequisites, then those of the job. It returns their size; steps above MaxScript are
// left out.
func (o object) plugins(role *TaskRole, s scope) (size int) {
	for _, p := range slices.Concat(o.rolePlugins(s), s.plugins) {
		if len(p.roles) > 0 && !slices.Contains(p.roles, role.Name) {
			continue
		}
		before, after := p.steps(s, &size)
		if len(before) > 0 {
			role.Before = append(role.Before, Step{before, p.ignore})
		}
		if len(after) > 0 { // the first plugin ends last
			role.After = slices.Insert(role.After, 0, Step{after, p.ignore})
		}
	}
	return size
}

// rolePlugins are the prerequisites of a task role that are plugins, each after those
// that it requires.
func (o object) rolePlugins(s scope) (plugins []plugin) {
	n := o.get("prerequisites")
	if n == nil || n.Kind == yaml.SequenceNode && len(n.Content) == 0 {
		return nil
	}
	var add func(at object, n *yaml.Node, path string, name string)
	done := map[string]bool{}
	add = func(at object, n *yaml.Node, path, name string) {
		if done[name] {
			return
		}
		done[name] = true
		p, ok := s.named(name)
		if !ok {
			at.Problem(n, path, "prerequisite %q not found%s", yamldoc.Shorten(name), at.suggest(name, s.prerequisiteNames()))
			return
		}
		if r := p.object.get("require"); r != nil {
			p.object.texts(r, p.object.child("require"), func(item *yaml.Node, path, name string) { add(p.object, item, path, name) })
		}
		kind, isPlugin := strings.CutPrefix(p.fields["plugin"], pluginField+".")
		switch {
		case p.fields["plugin"] == "":
			if p.object.get("require") == nil {
				at.Note(n, path, "prerequisite %q has no plugin and does nothing here: the commands have to fetch what they need", yamldoc.Shorten(name))
			}
		case !isPlugin || kind != "cmd" && kind != "git":
			p.object.problemValue("plugin", "plugin %q not found; a prerequisite can be %s.cmd or %s.git", yamldoc.Shorten(p.fields["plugin"]), pluginField, pluginField)
		default:
			plugins = append(plugins, plugin{kind: kind, parameters: p.object, ignore: p.object.ignoresFailure()})
		}
	}
	o.texts(n, o.child("prerequisites"), func(item *yaml.Node, path, name string) { add(o, item, path, name) })
	return plugins
}

// named returns a prerequisite of any type. Of several, it is one with a plugin.
func (s scope) named(name string) (found prerequisite, ok bool) {
	for _, kind := range prerequisiteKinds {
		if p, is := s.prerequisites[kind+"/"+name]; is && (!ok || p.fields["plugin"] != "") {
			found, ok = p, true
		}
	}
	return found, ok
}

func (s scope) prerequisiteNames() (names []string) {
	for _, p := range s.prerequisites {
		names = append(names, p.name)
	}
	slices.Sort(names)
	return names
}

// steps are the commands of a plugin, with the references of a task role. They count
// their bytes in size.
func (p plugin) steps(s scope, size *int) (before, after []string) {
	o := p.parameters
	into := func(list *[]string) func(*yaml.Node, string, string) {
		return func(item *yaml.Node, path, text string) {
			out, rendered, missing := s.render(text, MaxScript-*size)
			for _, m := range missing {
				o.Problem(item, path, "%s", m)
			}
			if *size += rendered + len("\n"); *size <= MaxScript {
				*list = append(*list, strings.TrimRight(out, "\n"))
			}
		}
	}
	switch p.kind {
	case "cmd":
		for _, c := range o.callbacks() {
			if c.starts {
				c.commands.each(o.reader, into(&before))
			} else {
				c.commands.each(o.reader, into(&after))
			}
		}
	case "git":
		uri, dir := o.need("repo_uri"), o.get("clone_dir")
		if dir == nil {
			o.Problem(o.at, o.child("clone_dir"), "is missing: name the directory that the files come to")
		}
		if uri == nil || dir == nil {
			return nil, nil
		}
		var words, place []string
		commandList{o.get("options"), o.child("options")}.each(o.reader, into(&words))
		for name, list := range map[string]*[]string{"repo_uri": &words, "clone_dir": &place} {
			if text, ok := o.text(o.get(name), o.child(name)); ok {
				into(list)(o.get(name), o.child(name), text)
			}
		}
		if len(words) == 0 || len(place) == 0 {
			return nil, nil
		}
		words[len(words)-1] = quote(words[len(words)-1])
		before = []string{
			`pai_code=$(mktemp -d)`,
			"git clone " + strings.Join(words, " ") + ` "$pai_code/code"`,
			"mkdir -p " + place[0],
			`cp -R "$pai_code/code/." ` + place[0],
			`rm -rf "$pai_code"`,
		}
	}
	return before, after
}

// callback is a list of commands of the plugin cmd.
type callback struct {
	starts   bool
	commands commandList
}

func (o object) callbacks() (all []callback) {
	if n := o.get("callbacks"); n != nil && n.Kind != yaml.SequenceNode {
		o.problemValue("callbacks", "must be a list, not %s", yamldoc.Describe(n))
	} else if n != nil {
		for i, item := range n.Content {
			c := o.object(item, item, fmt.Sprintf("%s[%d]", o.child("callbacks"), i), "event", "commands")
			e := c.need("event")
			if c.need("commands") == nil || e == nil {
				continue
			}
			event, ok := c.text(e, c.child("event"))
			starts, known := events[event]
			if ok && !known {
				c.problemValue("event", "must be taskStarts or taskSucceeds, not %q", yamldoc.Shorten(event))
			}
			all = append(all, callback{starts, commandList{c.get("commands"), c.child("commands")}})
		}
	}
	for name, starts := range map[string]bool{"preCommands": true, "postCommands": false} {
		if n := o.get(name); n != nil {
			all = append(all, callback{starts, commandList{n, o.child(name)}})
		}
	}
	return all
}

// setPlugins sets the parts of a job that concern all of its tasks.
func (o object) setPlugins(job *Spec, s scope, options ParseOptions) {
	seen := map[string]bool{}
	for _, p := range s.plugins {
		if seen[p.kind] && p.kind != "cmd" && p.kind != "git" {
			p.rolesAt.problemValue("plugin", "%s is given twice", p.kind)
			continue
		}
		seen[p.kind] = true
		switch p.kind {
		case "ssh":
			p.parameters.ssh(job, p, s)
		case "tensorboard":
			p.parameters.tensorboard(job, s)
		case "teamwise_storage":
			p.parameters.teamStorages(job, p, options)
		case "cmd":
			job.effect(p.rolesAt.path, "its commands run in %s, before the commands of the task role or after they succeeded", p.where())
		case "git":
			job.effect(p.rolesAt.path, "the git of the image clones the repository in %s before its commands", p.where())
		}
	}
}

func (o object) ssh(job *Spec, p plugin, with scope) {
	s := &SSH{Roles: p.roles, Job: o.flag("jobssh")}
	if u := o.nested("userssh", "type", "value"); u != nil && u.get("value") != nil && u.get("value").Value+u.get("value").Tag != "!!str" {
		kind := ""
		if n := u.get("type"); n != nil {
			kind, _ = u.text(n, u.child("type"))
		}
		switch keys, ok := u.filled(with, u.get("value"), u.child("value"), maxKeys); {
		case !ok:
		case kind != "custom":
			u.Problem(u.at, u.child("type"), "must be custom: PAI keeps no ssh keys of users")
		default:
			s.Keys = u.publicKeys(keys)
		}
	}
	if o.flag("sshbarrier") && s.Job {
		minutes := o.integer("sshbarrierTimeout", int64(defaultBarrier/time.Minute), 1, int64(maxBarrier/time.Minute))
		s.Barrier = time.Duration(minutes) * time.Minute
	} else {
		o.integer("sshbarrierTimeout", 0, 0, int64(maxBarrier/time.Minute))
	}
	var does []string
	if s.Job {
		does = append(does, "the tasks log in to one another with ssh as ROLE-INDEX")
	}
	if len(s.Keys) > 0 {
		does = append(does, "the public keys can log in")
	}
	if s.Barrier > 0 {
		does = append(does, "commands start when a task can log in to all others")
	}
	if len(does) == 0 {
		return
	}
	job.SSH = s
	job.effect(p.rolesAt.path, "%s runs the ssh server of its image, if it has one: %s", p.where(), strings.Join(does, "; "))
}

// filled reads a string with its references. It is stored where the secrets are not.
func (o object) filled(s scope, n *yaml.Node, path string, limit int) (string, bool) {
	text, ok := o.text(n, path)
	if !ok {
		return "", false
	}
	s.secrets.touched = false
	text = s.fill(n, path, text, limit)
	if s.secrets.touched {
		o.Problem(n, path, "must not refer to a secret: only commands and the passwords of registries can")
	}
	return text, true
}

// publicKeys splits a text with one public key in each line.
func (o object) publicKeys(text string) (keys []string) {
	for line := range strings.Lines(strings.ReplaceAll(text, `\n`, "\n")) {
		line = strings.TrimSpace(line)
		switch fields := strings.Fields(line); {
		case line == "":
		case len(fields) < 2 || !strings.HasPrefix(fields[0], "ssh-") && !strings.HasPrefix(fields[0], "ecdsa-") && !strings.HasPrefix(fields[0], "sk-"):
			o.problemValue("value", "has a line that is no public key of ssh")
		default:
			keys = append(keys, line)
		}
	}
	return keys
}

func (o object) tensorboard(job *Spec, s scope) {
	t := &TensorBoard{}
	if o.need("port") != nil {
		t.Port = int(o.integer("port", 0, 1, 65535))
	}
	logs := o.nested("logdir")
	if o.need("logdir") == nil {
		return
	}
	for _, name := range logs.names[:min(len(logs.names), maxLogs)] {
		if dir, ok := logs.filled(s, logs.fields[name].Value, logs.child(name), maxLog); ok {
			t.Logs = append(t.Logs, name+":"+dir)
		}
	}
	if len(logs.names) == 0 || len(logs.names) > maxLogs {
		o.problemValue("logdir", "must have from 1 to %d directories, not %d", maxLogs, len(logs.names))
	}
	job.TensorBoard = t
	job.effect(o.path, "the first task of the first task role runs the tensorboard of its image, if it has one, at port %d", t.Port)
}

// quote makes a text one word of a shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
