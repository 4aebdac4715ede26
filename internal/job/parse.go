package job

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"go.yaml.in/yaml/v3"
)

// ParseOptions is what Parse needs to know of the cluster.
type ParseOptions struct {
	// VirtualClusters are the names that exist; nil: do not check.
	VirtualClusters []string
	// VirtualCluster overrides the one that the job asks for, when not empty.
	VirtualCluster string
}

// DefaultVirtualCluster is where a job runs that asks for none.
const DefaultVirtualCluster = "default"

var (
	jobNamePattern  = regexp.MustCompile(`^[a-zA-Z0-9_-]+$`)
	roleNamePattern = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)
)

// The fields of the protocol, as its schema (openpai-protocol, schemas/v2) lists them.
var (
	jobFields = []string{"protocolVersion", "name", "type", "version", "contributor", "description",
		"prerequisites", "parameters", "secrets", "jobRetryCount", "taskRoles", "deployments", "defaults", "extras"}
	roleFields = []string{"instances", "completion", "taskRetryCount", "prerequisites", "dockerImage", "data", "output",
		"script", "extraContainerOptions", "resourcePerInstance", "commands"}
)

// Parse reads a job in job protocol v2. The error, if any, is Problems: all of
// them, not only the first. Warnings name what is accepted but has no effect.
func Parse(data []byte, o ParseOptions) (*Spec, []Problem, error) {
	r := &reader{}
	root := r.document(data)
	if root == nil {
		return nil, nil, r.err()
	}
	job := r.job(root, o)
	return job, r.warnings, r.err()
}

func (r *reader) job(root *yaml.Node, o ParseOptions) *Spec {
	top := r.object(root, root, "", jobFields...)
	top.freeText("version", "contributor", "description")
	if n := top.need("protocolVersion"); n != nil && (n.Kind != yaml.ScalarNode || n.Value != "2") {
		r.fail(n, "protocolVersion", "must be 2, not %s", valueOf(n))
	}
	if n := top.need("type"); n != nil && (n.Kind != yaml.ScalarNode || n.Value != "job") {
		r.fail(n, "type", "must be job, not %s", valueOf(n))
	}
	job := &Spec{Name: r.jobName(top), RetryCount: int(top.integer("jobRetryCount", 0, 0, 1000))}
	job.VirtualCluster = r.defaults(top, o)

	scope := scope{parameters: r.parameters(top), prerequisites: r.prerequisites(top)}
	r.unsupported(top)
	r.extras(top)
	r.taskRoles(top, job, scope)
	return job
}

func (r *reader) jobName(top object) string {
	n := top.need("name")
	if n == nil {
		return ""
	}
	s, ok := top.text(n, "name")
	switch {
	case !ok:
	case len(s) > 255:
		r.fail(n, "name", "is %d characters long; at most 255 are accepted", len(s))
	case !jobNamePattern.MatchString(s):
		r.fail(n, "name", "may hold letters, digits, - and _ only, not %q", s)
	}
	return s
}

func (r *reader) defaults(top object, o ParseOptions) string {
	vc := o.VirtualCluster
	place, path := (*yaml.Node)(nil), ""
	if n := top.get("defaults"); n != nil {
		d := r.object(n, top.key["defaults"], "defaults", "virtualCluster", "deployment")
		if n := d.get("virtualCluster"); n != nil {
			if s, ok := d.text(n, "defaults.virtualCluster"); ok && vc == "" {
				vc, place, path = s, n, "defaults.virtualCluster"
			}
		}
		if n := d.get("deployment"); n != nil {
			r.fail(d.key["deployment"], "defaults.deployment", "deployments are not supported: put their commands into the task roles'")
		}
	}
	if vc == "" {
		vc = DefaultVirtualCluster
	}
	if o.VirtualClusters != nil && !slices.Contains(o.VirtualClusters, vc) {
		r.fail(place, path, "there is no virtual cluster %q; there is %s", vc, strings.Join(o.VirtualClusters, ", "))
	}
	return vc
}

// unsupported refuses what the job would rely on and PAI cannot do.
func (r *reader) unsupported(top object) {
	if n := top.get("secrets"); n != nil && len(n.Content) > 0 {
		r.fail(top.key["secrets"], "secrets", "secrets are not supported: everybody who may list jobs could read them")
	}
	if n := top.get("deployments"); n != nil && len(n.Content) > 0 {
		r.fail(top.key["deployments"], "deployments", "deployments are not supported: put their commands into the task roles'")
	}
}

// extras holds hints to other parts of a platform; those known to matter are
// reported as having no effect.
func (r *reader) extras(top object) {
	n := top.get("extras")
	if n == nil {
		return
	}
	extras := r.object(n, top.key["extras"], "extras")
	for _, name := range extras.keys {
		switch key, value := extras.key[name], extras.fields[name]; {
		case name == "submitFrom":
		case name == "gangAllocation" && value.Value == "true": // a job's pods are always admitted together
		default:
			r.warn(key, extras.child(name), "has no effect here")
		}
	}
}

func (r *reader) parameters(top object) map[string]string {
	n := top.get("parameters")
	if n == nil {
		return nil
	}
	o := r.object(n, top.key["parameters"], "parameters")
	values := map[string]string{}
	for _, name := range o.keys {
		if v := o.fields[name]; v.Kind == yaml.ScalarNode {
			values[name] = v.Value
		} else {
			r.fail(v, o.child(name), "must be a single value, not %s", kindOf(v))
		}
	}
	return values
}

func (r *reader) prerequisites(top object) map[string]prerequisite {
	n := top.get("prerequisites")
	if n == nil {
		return nil
	}
	if n.Kind != yaml.SequenceNode {
		r.fail(n, "prerequisites", "must be a list, not %s", kindOf(n))
		return nil
	}
	all := map[string]prerequisite{}
	for i, item := range n.Content {
		path := fmt.Sprintf("prerequisites[%d]", i)
		p, ok := r.prerequisite(item, path)
		if !ok {
			continue
		}
		// A name is the identity within a kind: a script and an image may share one.
		if _, twice := all[p.kind+"/"+p.name]; twice {
			r.fail(item, path, "there is already a %s named %q", p.kind, p.name)
			continue
		}
		all[p.kind+"/"+p.name] = p
	}
	return all
}

func (r *reader) prerequisite(n *yaml.Node, path string) (prerequisite, bool) {
	o := r.object(n, n, path)
	p := prerequisite{fields: map[string]string{}}
	if t := o.need("type"); t != nil {
		if p.kind, _ = o.text(t, o.child("type")); p.kind != "" && !slices.Contains(prerequisiteKinds, p.kind) {
			r.fail(t, o.child("type"), "must be one of %s, not %q", strings.Join(prerequisiteKinds, ", "), p.kind)
		}
	}
	if t := o.need("name"); t != nil {
		p.name, _ = o.text(t, o.child("name"))
	}
	if u := o.need("uri"); u != nil {
		p.uris = r.uris(o, u, p.kind)
	}
	if a := o.get("auth"); a != nil {
		r.fail(o.key["auth"], o.child("auth"), "registries that ask for a password are not supported: load the image with paictl image load")
	}
	for _, name := range o.keys {
		if v := o.fields[name]; v.Kind == yaml.ScalarNode {
			p.fields[name] = v.Value
		}
		if p.kind == "dockerimage" && !slices.Contains(imageFields, name) {
			r.fail(o.key[name], o.child(name), "unknown field of a dockerimage")
		}
	}
	// One with other problems is known all the same, so that what refers to it
	// is not reported as well.
	return p, p.kind != "" && p.name != ""
}

var (
	prerequisiteKinds = []string{"dockerimage", "script", "data", "output"}
	imageFields       = []string{"protocolVersion", "name", "type", "version", "contributor", "description", "auth", "uri"}
)

func (r *reader) uris(o object, n *yaml.Node, kind string) []string {
	path := o.child("uri")
	if kind != "data" || n.Kind == yaml.ScalarNode {
		s, ok := o.text(n, path)
		if !ok {
			return nil
		}
		if _, err := name.ParseReference(s); kind == "dockerimage" && err != nil {
			r.fail(n, path, "is not the name of an image: %v", err)
		}
		return []string{s}
	}
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
		r.fail(n, path, "must be a list of at least one string")
		return nil
	}
	var uris []string
	for i, item := range n.Content {
		if s, ok := o.text(item, fmt.Sprintf("%s[%d]", path, i)); ok {
			uris = append(uris, s)
		}
	}
	return uris
}
