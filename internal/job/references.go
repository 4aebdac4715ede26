package job

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"

	"go.yaml.in/yaml/v3"

	"pai.dev/pai/internal/yamldoc"
)

// scope is what `<% … %>` in a command can refer to.
type scope struct {
	reader
	parameters    map[string]string
	names         []string // of the parameters, sorted
	secrets       *secrets
	prerequisites map[string]prerequisite // by kind/name
	role          map[string]prerequisite // by kind, as the task role chose
	deployed      map[string]deployedRole // by task role
	plugins       []plugin
}

func newScope(r reader, parameters map[string]string, secrets *secrets) scope {
	return scope{reader: r, parameters: parameters, names: slices.Sorted(maps.Keys(parameters)), secrets: secrets}
}

var reference = regexp.MustCompile(`<%\s*\$(parameters|script|data|output|secrets)\.([A-Za-z_][A-Za-z0-9_-]*)(?:\[(\d+)\])?\s*%>`)

// fill is render for a text that is no command; problems are reported at n.
func (s scope) fill(n *yaml.Node, path, text string, limit int) string {
	out, size, missing := s.render(text, limit)
	for _, m := range missing {
		s.Problem(n, path, "%s", m)
	}
	if size > limit {
		s.Problem(n, path, "comes to %d bytes with its references filled in; the limit is %d", size, limit)
		return ""
	}
	return out
}

// render fills in the references of a command and returns its size and what is
// wrong with the references. Any `<% … %>` that is not a reference of the protocol
// stays as it is. If the size is above the limit, the text is incomplete, so that
// it never takes much more than the limit and the command.
func (s scope) render(command string, limit int) (out string, size int, missing []string) {
	size = len(command)
	out = reference.ReplaceAllStringFunc(command, func(text string) string {
		if len(missing) >= maxProblems {
			return text
		}
		m := reference.FindStringSubmatch(text)
		value, problem := s.lookup(m[1], m[2], m[3])
		if problem != "" {
			missing = append(missing, text+": "+problem)
			return text
		}
		if size += len(value) - len(text); size > limit {
			return ""
		}
		return value
	})
	return out, size, missing
}

func (s scope) lookup(object, field, index string) (value, problem string) {
	switch object {
	case "parameters":
		if value, ok := s.parameters[field]; ok && index == "" {
			return value, ""
		}
		return "", "parameter not found" + s.suggest(field, s.names)
	case "secrets":
		if value, ok := s.secrets.use(field); ok && index == "" {
			return value, ""
		}
		return "", "secret not found" + s.suggest(field, s.secrets.names)
	}
	p, ok := s.role[object]
	if !ok {
		return "", fmt.Sprintf("the task role has no field %s", object)
	}
	if field == "uri" && index != "" {
		if i, err := strconv.Atoi(index); err == nil && i < len(p.uris) {
			return p.uris[i], ""
		}
		return "", fmt.Sprintf("%s %q has %d URIs", object, yamldoc.Shorten(p.name), len(p.uris))
	}
	if field == "uri" && len(p.uris) == 1 && index == "" {
		return p.uris[0], ""
	}
	if value, ok := p.fields[field]; ok && index == "" {
		return value, ""
	}
	return "", fmt.Sprintf("field not found in %s %q", object, yamldoc.Shorten(p.name))
}
