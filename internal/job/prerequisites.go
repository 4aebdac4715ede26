package job

import (
	"fmt"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"go.yaml.in/yaml/v3"

	"pai.dev/pai/internal/yamldoc"
)

// prerequisite is one entry of the prerequisites of a job.
type prerequisite struct {
	kind   string
	name   string
	uris   []string
	fields map[string]string // every plain field, for <% $script.version %>
}

var (
	prerequisiteKinds = []string{"dockerimage", "script", "data", "output"}
	imageFields       = []string{"protocolVersion", "name", "type", "version", "contributor", "description", "auth", "uri"}
)

// prerequisites are by kind/name: a script and an image can have the same name.
func (o object) prerequisites() map[string]prerequisite {
	n := o.get("prerequisites")
	if n == nil {
		return nil
	}
	if n.Kind != yaml.SequenceNode {
		o.problem("prerequisites", "must be a list, not %s", yamldoc.Describe(n))
		return nil
	}
	all := map[string]prerequisite{}
	for i, item := range n.Content {
		path := fmt.Sprintf("prerequisites[%d]", i)
		p, ok := o.prerequisite(item, path)
		if !ok {
			continue
		}
		if _, duplicate := all[p.kind+"/"+p.name]; duplicate {
			o.Problem(item, path, "duplicate %s %q", p.kind, yamldoc.Shorten(p.name))
			continue
		}
		all[p.kind+"/"+p.name] = p
	}
	return all
}

func (r reader) prerequisite(n *yaml.Node, path string) (prerequisite, bool) {
	o := r.object(n, n, path)
	p := prerequisite{fields: map[string]string{}}
	if t := o.need("type"); t != nil {
		if p.kind, _ = o.text(t, o.child("type")); p.kind != "" && !slices.Contains(prerequisiteKinds, p.kind) {
			o.problem("type", "must be one of %s, not %q", strings.Join(prerequisiteKinds, ", "), yamldoc.Shorten(p.kind))
		}
	}
	if t := o.need("name"); t != nil {
		p.name, _ = o.text(t, o.child("name"))
	}
	if u := o.need("uri"); u != nil {
		p.uris = o.uris(u, p.kind)
	}
	if o.get("auth") != nil {
		o.problemKey("auth", "registries with a password are not supported; to load the image instead, run: paictl image load")
	}
	for _, name := range o.names {
		if v := o.fields[name].Value; v.Kind == yaml.ScalarNode {
			p.fields[name] = v.Value
		}
		if p.kind == "dockerimage" && !slices.Contains(imageFields, name) {
			o.problemKey(name, "unknown field of a dockerimage")
		}
	}
	// An entry with other problems counts as known, so that references to it are
	// not reported as well.
	return p, p.kind != "" && p.name != ""
}

func (o object) uris(n *yaml.Node, kind string) (uris []string) {
	path := o.child("uri")
	if kind == "data" && n.Kind != yaml.ScalarNode {
		o.texts(n, path, func(_ *yaml.Node, _, s string) { uris = append(uris, s) })
		return uris
	}
	s, ok := o.text(n, path)
	if !ok {
		return nil
	}
	if _, err := name.ParseReference(s); kind == "dockerimage" && err != nil {
		o.problem("uri", "is not the name of an image: %v", err)
	}
	return []string{s}
}
