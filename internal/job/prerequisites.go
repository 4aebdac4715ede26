package job

import (
	"fmt"
	"regexp"
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
	object object
}

var (
	prerequisiteKinds = []string{"dockerimage", "script", "data", "output"}
	imageFields       = []string{"protocolVersion", "name", "type", "version", "contributor", "description", "auth", "uri"}
)

// readPrerequisites reads the prerequisites of a job: by kind/name, because a script and an
// image can have the same name. It adds the credentials for registries to the job.
func readPrerequisites(top object, job *Spec, s scope) map[string]prerequisite {
	n := top.get("prerequisites")
	if n == nil {
		return nil
	}
	if n.Kind != yaml.SequenceNode {
		top.problemValue("prerequisites", "must be a list, not %s", yamldoc.Describe(n))
		return nil
	}
	all := map[string]prerequisite{}
	for i, item := range n.Content {
		path := fmt.Sprintf("prerequisites[%d]", i)
		p := readPrerequisite(top.reader, item, path)
		// Also of an entry that cannot be referred to: its password is hidden, and its
		// mistakes are reported.
		if registry := p.readRegistry(s); registry != nil {
			job.addRegistry(p.object, *registry)
		}
		if !p.known() {
			continue
		}
		if _, duplicate := all[p.key()]; duplicate {
			top.Problem(item, path, "duplicate %s %q", p.kind, yamldoc.Shorten(p.name))
			continue
		}
		all[p.key()] = p
	}
	return all
}

// key is what the prerequisites of a job are found by.
func (p prerequisite) key() string { return p.kind + "/" + p.name }

// known reports whether the entry can be referred to. One with other problems can, so that
// references to it are not reported as well.
func (p prerequisite) known() bool { return p.kind != "" && p.name != "" }

// readPrerequisite reads one entry, all but its credentials.
func readPrerequisite(r reader, n *yaml.Node, path string) prerequisite {
	o := r.object(n, n, path)
	p := prerequisite{fields: map[string]string{}, object: o}
	if t := o.need("type"); t != nil {
		if p.kind, _ = o.text(t, o.child("type")); p.kind != "" && !slices.Contains(prerequisiteKinds, p.kind) {
			o.problemValue("type", "must be one of %s, not %q", strings.Join(prerequisiteKinds, ", "), yamldoc.Shorten(p.kind))
		}
	}
	if t := o.need("name"); t != nil {
		p.name, _ = o.text(t, o.child("name"))
	}
	uri := o.get("uri")
	if uri == nil && o.get("plugin") == nil { // what a plugin does needs no place
		uri = o.need("uri")
	}
	if uri != nil {
		p.uris = o.uris(uri, p.kind)
	}
	for _, name := range o.names {
		if v := o.fields[name].Value; v.Kind == yaml.ScalarNode {
			p.fields[name] = v.Value
		}
		if p.kind == "dockerimage" && !slices.Contains(imageFields, name) {
			o.problemKey(name, "unknown field of a dockerimage")
		}
	}
	return p
}

// uris reads the places of a prerequisite: a list for data, otherwise one.
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
		o.problemValue("uri", "is not the name of an image: %v", err)
	}
	return []string{s}
}

// readRegistry reads the credentials for the registry of an image, and hides the password
// in all output; nil if there are none, or if they cannot be used.
func (p prerequisite) readRegistry(s scope) *Registry {
	o := p.object
	if p.kind != "dockerimage" {
		if o.get("auth") != nil {
			o.problemKey("auth", "only an image can have it")
		}
		return nil
	}
	auth := o.nested("auth", "username", "password", "registryuri")
	if auth == nil || len(auth.names) == 0 {
		return nil
	}
	value := func(name string) string {
		n := auth.get(name)
		if n == nil {
			return ""
		}
		if n.Kind != yaml.ScalarNode { // its value is never quoted
			auth.problemValue(name, "must be a single value")
			return ""
		}
		return s.fill(n, auth.child(name), n.Value, maxCredential)
	}
	s.secrets.hide(auth.get("password"))
	r := Registry{Address: value("registryuri"), User: value("username"), Password: value("password")}
	if r.User == "" || r.Password == "" {
		o.problemKey("auth", "needs username and password")
		return nil
	}
	if strings.Contains(r.User, ":") {
		auth.problemValue("username", "must not contain a colon")
	}
	if r.Address == "" && len(p.uris) > 0 {
		if ref, err := name.ParseReference(p.uris[0]); err == nil {
			r.Address = ref.Context().RegistryStr()
		}
	}
	if !registryPattern.MatchString(r.Address) {
		auth.problemKey("registryuri", "is not the address of a registry")
		return nil
	}
	if dockerHub.MatchString(r.Address) {
		r.Address = dockerHubKey
	}
	return &r
}

var (
	registryPattern = regexp.MustCompile(`^(https?://)?[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]{1,5})?(/[A-Za-z0-9._/-]*)?$`)
	dockerHub       = regexp.MustCompile(`^(https?://)?((index|registry-1|registry)\.)?docker\.io(/.*)?$`)
)

// maxCredential is the size of a name or a password of a registry in bytes. Tokens of cloud
// registries have some thousands.
const maxCredential = 8 << 10

// dockerHubKey is how the kubelet finds the credentials for Docker Hub.
const dockerHubKey = "https://index.docker.io/v1/"

// addRegistry adds the credentials for a registry to a job, once, and the effect that the
// machines use them. o is the image that has them.
func (j *Spec) addRegistry(o object, r Registry) {
	for _, other := range j.Registries {
		if other.Address == r.Address {
			if other != r {
				o.problemKey("auth", "another image has other credentials for the registry %s: a job can have one for each registry", r.Address)
			}
			return
		}
	}
	j.Registries = append(j.Registries, r)
	j.effect(o.child("auth"), "the machines pull images from %s as its user", r.Address)
}
