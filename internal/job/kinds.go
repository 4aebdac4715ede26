package job

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/yamldoc"
)

// Kind is the machines with one machine-sku, which the tasks of a role can choose.
type Kind struct {
	Name     string
	Machines []Machine
}

// Machine is what the pods of a machine can have. Values of zero cores are unknown.
type Machine struct{ CPUMilli, MemoryMB, GPU int64 }

// Kinds returns the kinds of nodes, by name. A machine that is cordoned or unreachable
// counts: a job can wait for it.
func Kinds(nodes []corev1.Node) []Kind {
	kinds := []Kind{}
	for _, n := range nodes {
		name := n.Labels[pai.LabelMachineSKU]
		if name == "" {
			continue
		}
		i, found := slices.BinarySearchFunc(kinds, name, func(k Kind, name string) int { return cmp.Compare(k.Name, name) })
		if !found {
			kinds = slices.Insert(kinds, i, Kind{Name: name})
		}
		kinds[i].Machines = append(kinds[i].Machines, machineOf(n))
	}
	return kinds
}

// machineOf: without its device plugin, a node has no GPUs for some minutes; its
// machine-sku says how many will be there again.
func machineOf(n corev1.Node) Machine {
	gpus := n.Status.Capacity[gpuResource]
	m := Machine{CPUMilli: n.Status.Allocatable.Cpu().MilliValue(), MemoryMB: n.Status.Allocatable.Memory().Value() >> 20, GPU: gpus.Value()}
	if configured, err := strconv.ParseInt(n.Annotations[pai.AnnotationMachineGPUs], 10, 32); err == nil {
		m.GPU = max(m.GPU, configured)
	}
	return m
}

// ChoosesKind reports whether a task role chooses a kind of machine.
func (j *Spec) ChoosesKind() bool {
	return slices.ContainsFunc(j.TaskRoles, func(r TaskRole) bool { return r.Kind != "" })
}

// KindsOf are the kinds that the tasks of a JobSet of any release chose.
func KindsOf(set *unstructured.Unstructured) []string {
	var kinds []string
	roles, _, _ := unstructured.NestedSlice(set.Object, "spec", "replicatedJobs")
	for _, r := range roles {
		role, _ := r.(map[string]any)
		kind, _, _ := unstructured.NestedString(role, "template", "spec", "template", "spec", "nodeSelector", pai.LabelMachineSKU)
		if kind != "" && !slices.Contains(kinds, kind) {
			kinds = append(kinds, kind)
		}
	}
	return kinds
}

// kindPattern is that of the names in machine-sku, and of the values of labels.
var kindPattern = regexp.MustCompile(`^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$`)

// kind reads the kind that a task role chooses; empty if it chooses none.
func (o object) kind() string {
	n := o.get("skuType")
	if n == nil {
		return ""
	}
	name, ok := o.text(n, o.child("skuType"))
	if ok && !kindPattern.MatchString(name) {
		o.problemValue("skuType", "%q cannot be the name of a machine-sku", yamldoc.Shorten(name))
		return ""
	}
	return name
}

// checkKind refuses a kind that does not exist, and one whose machines can never run all
// tasks of the role at the same time.
func (o object) checkKind(job *Spec, role TaskRole, options ParseOptions) {
	i := slices.IndexFunc(options.Kinds, func(k Kind) bool { return k.Name == role.Kind })
	switch {
	case options.Kinds == nil:
		job.effect(o.child("skuType"), "the tasks run on machines of the kind %s", role.Kind)
	case len(options.Kinds) == 0:
		o.problemValue("skuType", "no machine has a kind: leave it out, or ask an operator to name a machine-type of the machines in layout.yaml")
	case i < 0:
		o.problemValue("skuType", "no machine is of the kind %q; there is %s", yamldoc.Shorten(role.Kind), names(options.Kinds))
	default:
		k := options.Kinds[i]
		if why := k.cannotRun(role); why != "" {
			o.problemValue("skuType", "%s", why)
			return
		}
		job.effect(o.child("skuType"), "the tasks run on machines of the kind %s; there are %d", k.Name, len(k.Machines))
	}
}

func names(kinds []Kind) string {
	var all []string
	for _, k := range kinds {
		all = append(all, k.Name)
	}
	return strings.Join(all, ", ")
}

// known reports whether all machines have reported what pods can have of them. While one
// has not, no job is refused for it.
func (k Kind) known() bool {
	return !slices.ContainsFunc(k.Machines, func(m Machine) bool { return m.CPUMilli == 0 })
}

// cannotRun returns why the machines of the kind can never run all tasks of a role at the
// same time; empty if nothing is known against it.
func (k Kind) cannotRun(role TaskRole) string {
	if !k.known() {
		return ""
	}
	var largest Machine
	tasks := int64(0)
	for _, m := range k.Machines {
		largest = Machine{max(largest.CPUMilli, m.CPUMilli), max(largest.MemoryMB, m.MemoryMB), max(largest.GPU, m.GPU)}
		tasks += m.holds(role)
	}
	switch {
	case role.GPU > 0 && largest.GPU == 0:
		return fmt.Sprintf("machines of the kind %s have no GPUs", k.Name)
	case role.GPU > largest.GPU:
		return fmt.Sprintf("a task asks for %d GPUs; a machine of the kind %s has %d", role.GPU, k.Name, largest.GPU)
	case role.CPUMilli > largest.CPUMilli:
		return fmt.Sprintf("a task asks for %s cores; pods can have %s of a machine of the kind %s", cores(role.CPUMilli), cores(largest.CPUMilli), k.Name)
	case role.MemoryMB > largest.MemoryMB:
		return fmt.Sprintf("a task asks for %d MiB of memory; pods can have %d of a machine of the kind %s", role.MemoryMB, largest.MemoryMB, k.Name)
	case tasks < int64(role.Instances):
		return fmt.Sprintf("the role has %d tasks; the %d machines of the kind %s can run %d at the same time", role.Instances, len(k.Machines), k.Name, tasks)
	}
	return ""
}

// holds is how many tasks of a role an empty machine can run.
func (m Machine) holds(role TaskRole) int64 {
	n := int64(MaxInstances)
	for _, r := range []struct{ has, needs int64 }{{m.CPUMilli, role.CPUMilli}, {m.MemoryMB, role.MemoryMB}, {m.GPU, role.GPU}} {
		if r.needs > 0 {
			n = min(n, r.has/r.needs)
		}
	}
	return n
}

// checkKinds refuses what only all task roles together ask too much of: a kind, or the
// virtual cluster.
func (o object) checkKinds(job *Spec, options ParseOptions) {
	needs, gpus := map[string]int64{}, int64(0)
	for _, role := range job.TaskRoles {
		needs[role.Kind] += int64(role.Instances) * role.GPU
		gpus += int64(role.Instances) * role.GPU
	}
	for _, k := range options.Kinds {
		has := int64(0)
		for _, m := range k.Machines {
			has += m.GPU
		}
		if k.known() && needs[k.Name] > has {
			o.Problem(o.at, o.path, "the task roles ask for %d GPUs of the kind %s; its machines have %d", needs[k.Name], k.Name, has)
		}
	}
	if job.ChoosesKind() && options.GPUQuota > 0 && gpus > options.GPUQuota {
		o.Problem(o.at, o.path, "the job asks for %d GPUs; virtual cluster %s can use %d, of whichever kind", gpus, job.VirtualCluster, options.GPUQuota)
	}
}
