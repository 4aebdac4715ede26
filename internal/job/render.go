package job

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
)

// prerequisite is one entry of a job's prerequisites.
type prerequisite struct {
	kind   string
	name   string
	uris   []string
	fields map[string]string // every plain field, for <% $script.version %>
}

// scope is what `<% … %>` in a command may refer to.
type scope struct {
	parameters    map[string]string
	prerequisites map[string]prerequisite // by kind/name
	role          map[string]prerequisite // by kind, as the task role chose
}

var reference = regexp.MustCompile(`<%\s*\$(parameters|script|data|output|secrets)\.([A-Za-z_][A-Za-z0-9_-]*)(?:\[(\d+)\])?\s*%>`)

// render fills in the references of a command. What looks like one of the
// protocol's references and refers to nothing is reported; any other `<% … %>`
// is the command's own business.
func (s scope) render(command string) (string, []string) {
	var missing []string
	out := reference.ReplaceAllStringFunc(command, func(text string) string {
		m := reference.FindStringSubmatch(text)
		value, problem := s.lookup(m[1], m[2], m[3])
		if problem != "" {
			missing = append(missing, text+": "+problem)
			return text
		}
		return value
	})
	return out, missing
}

func (s scope) lookup(object, field, index string) (value, problem string) {
	switch object {
	case "parameters":
		if value, ok := s.parameters[field]; ok && index == "" {
			return value, ""
		}
		hint := ""
		if near := nearest(field, slices.Sorted(maps.Keys(s.parameters))); near != "" && index == "" {
			hint = fmt.Sprintf("; did you mean %q?", near)
		}
		return "", fmt.Sprintf("there is no such parameter%s", hint)
	case "secrets":
		return "", "secrets are not supported"
	}
	p, ok := s.role[object]
	if !ok {
		return "", fmt.Sprintf("the task role names no %s", object)
	}
	if field == "uri" && index != "" {
		if i, err := strconv.Atoi(index); err == nil && i < len(p.uris) {
			return p.uris[i], ""
		}
		return "", fmt.Sprintf("%s %q has %d uris", object, p.name, len(p.uris))
	}
	if field == "uri" && len(p.uris) == 1 && index == "" {
		return p.uris[0], ""
	}
	if value, ok := p.fields[field]; ok && index == "" {
		return value, ""
	}
	return "", fmt.Sprintf("%s %q has no such field", object, p.name)
}
