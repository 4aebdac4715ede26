package job

import (
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/yamldoc"
)

// ParseOptions are the facts of the cluster that a job is checked against.
type ParseOptions struct {
	// VirtualClusters are the names that exist; nil skips the check.
	VirtualClusters []string
	// VirtualCluster replaces the one in the job, unless it is empty.
	VirtualCluster string
	// Kinds are the kinds of machines that a job can choose; nil skips the check.
	Kinds []Kind
	// GPUQuota is how many GPUs the virtual cluster can use at the same time; 0 skips the
	// check.
	GPUQuota int64
	// Storages are all that the cluster has.
	Storages []pai.Storage
	// DefaultStorages are the names of those that a job of the user gets if it asks for
	// storages without a name.
	DefaultStorages []string
}

// DefaultVirtualCluster is the virtual cluster of a job that names none.
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
	root, problems := parse(data)
	if root == nil {
		return nil, nil, problems
	}
	r := reader{yamldoc.NewReport(maxProblems)}
	job := r.job(root, o)
	if problems = r.Problems(); len(problems) > 0 {
		return job, r.Notes(), problems
	}
	return job, r.Notes(), nil
}

func (r reader) job(root *yaml.Node, o ParseOptions) *Spec {
	top := r.object(root, root, "", jobFields...)
	top.freeText("version", "contributor", "description")
	top.exactly("protocolVersion", "2")
	top.exactly("type", "job")
	job := &Spec{
		Name: top.jobName(), RetryCount: int(top.integer("jobRetryCount", 0, 0, 1000)),
		VirtualCluster: top.virtualCluster(o), Gang: true,
	}
	s := newScope(r, top.parameters(), top.secrets())
	s.prerequisites = readPrerequisites(top, job, s)
	s.deployed = top.deployments(job)
	skus := top.extras(job, &s, o)
	top.taskRoles(job, s)
	job.assignPorts()
	for _, check := range append(skus, top.afterTaskRoles) {
		check(job)
	}
	s.secrets.reportUnused(r)
	job.masked = top.masked(root, s.secrets)
	return job
}

// afterTaskRoles checks what depends on several task roles.
func (o object) afterTaskRoles(job *Spec) {
	for _, role := range job.TaskRoles {
		if role.MinFailed != 1 && len(job.TaskRoles) > 1 {
			path := o.child("taskRoles") + "." + role.Name + ".completion.minFailedInstances"
			o.Problem(o.fields["taskRoles"].Key, path,
				"must be 1 in a job with several task roles, not %d: Kubernetes ends all of them when one has ended with failed tasks; retry tasks with taskRetryCount, or end the commands with exit 0", role.MinFailed)
		}
	}
	if n, used := o.get("parameters"), job.portsOf(); used > portRange {
		o.Problem(n, "taskRoles", "the task roles reserve %d ports; the limit is %d", used, portRange)
	}
}

func (o object) jobName() string {
	n := o.need("name")
	if n == nil {
		return ""
	}
	s, ok := o.text(n, "name")
	switch {
	case !ok:
	case len(s) > 255:
		o.problemValue("name", "has %d characters; the limit is 255", len(s))
	case !jobNamePattern.MatchString(s):
		o.problemValue("name", "can have letters, digits, - and _ only, not %q", s)
	}
	return s
}

func (o object) virtualCluster(options ParseOptions) string {
	vc := options.VirtualCluster
	place, path := (*yaml.Node)(nil), ""
	if d := o.nested("defaults", "virtualCluster", "deployment"); d != nil {
		if n := d.get("virtualCluster"); n != nil {
			if s, ok := d.text(n, d.child("virtualCluster")); ok && vc == "" {
				vc, place, path = s, n, d.child("virtualCluster")
			}
		}
	}
	if vc == "" {
		vc = DefaultVirtualCluster
	}
	if options.VirtualClusters != nil && !slices.Contains(options.VirtualClusters, vc) {
		o.Problem(place, path, "virtual cluster %q not found; there is %s", yamldoc.Shorten(vc), strings.Join(options.VirtualClusters, ", "))
	}
	return vc
}

func (o object) parameters() map[string]string {
	parameters := o.nested("parameters")
	if parameters == nil {
		return nil
	}
	values := map[string]string{}
	for _, name := range parameters.names {
		if v := parameters.fields[name].Value; v.Kind == yaml.ScalarNode {
			values[name] = v.Value
		} else {
			parameters.problemValue(name, "must be a single value, not %s", yamldoc.Describe(v))
		}
	}
	return values
}
