package job

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// node is a node with resources for pods; gpus is what its machine-sku has.
func node(kind, cpu, memory, plugin, gpus string) corev1.Node {
	n := corev1.Node{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"kubernetes.io/hostname": "x"}, Annotations: map[string]string{}}}
	if kind != "" {
		n.Labels["pai.dev/machine-sku"] = kind
	}
	if gpus != "" {
		n.Annotations["pai.dev/machine-gpus"] = gpus
	}
	n.Status.Capacity = corev1.ResourceList{gpuResource: resource.MustParse(plugin)}
	n.Status.Allocatable = corev1.ResourceList{gpuResource: resource.MustParse(plugin)}
	if cpu != "" {
		n.Status.Allocatable[corev1.ResourceCPU], n.Status.Allocatable[corev1.ResourceMemory] = resource.MustParse(cpu), resource.MustParse(memory)
	}
	return n
}

// Two machines with eight GPUs, one of them without its device plugin; one with four
// old GPUs; one without a kind; and one that has not reported what it has.
func someKinds() []Kind {
	cordoned := node("a100", "96", "1000Gi", "0", "8")
	cordoned.Spec.Unschedulable = true
	return Kinds([]corev1.Node{
		node("k80", "24", "200Gi", "4", ""), node("a100", "96", "1000Gi", "8", "8"), cordoned,
		node("", "512", "8000Gi", "16", ""), node("cpu", "64", "100Gi", "0", "none"), node("new", "", "", "0", "4"),
	})
}

const kindJob = `protocolVersion: 2
name: kinds
type: job
prerequisites: [{name: image, type: dockerimage, uri: "x:1"}]
taskRoles:
  worker: {instances: %d, dockerImage: image, resourcePerInstance: {cpu: %d, memoryMB: %d, gpu: %d}, commands: [train]}
  ps: {instances: 2, dockerImage: image, resourcePerInstance: {cpu: 1, memoryMB: 64, gpu: 0}, commands: [serve]}
extras: {hivedScheduler: {taskRoles: {worker: {skuType: %s}}}}
`

func TestKindsThatCannotRunAJobAreRefused(t *testing.T) {
	t.Parallel()
	type ask struct {
		instances, cpu, memory, gpu int
		kind                        string
	}
	for name, c := range map[string]struct {
		ask   ask
		quota int64
		want  string // of the refusal; empty: it is accepted
	}{
		"fits":                         {ask{2, 90, 900000, 8, "a100"}, 0, ""},
		"fits in the quota":            {ask{2, 8, 64, 8, "a100"}, 16, ""},
		"half machines":                {ask{4, 8, 64, 4, "a100"}, 0, ""},
		"without GPUs":                 {ask{3, 30, 64, 0, "a100"}, 0, ""},
		"unknown kind":                 {ask{1, 1, 64, 1, "h100"}, 0, `taskRoles.worker.skuType: no machine is of the kind "h100"; there is a100, cpu, k80, new`},
		"another case":                 {ask{1, 1, 64, 1, "A100"}, 0, "there is a100"},
		"no name":                      {ask{1, 1, 64, 1, `"a 100"`}, 0, "cannot be the name"},
		"no string":                    {ask{1, 1, 64, 1, "100"}, 0, "must be a string"},
		"more GPUs than a machine":     {ask{1, 1, 64, 16, "a100"}, 0, "a task asks for 16 GPUs; a machine of the kind a100 has 8"},
		"GPUs of a kind without":       {ask{1, 1, 64, 1, "cpu"}, 0, "machines of the kind cpu have no GPUs"},
		"more cores than a machine":    {ask{1, 97, 64, 1, "a100"}, 0, "a task asks for 97 cores; pods can have 96"},
		"more memory than a machine":   {ask{1, 1, 2000000, 1, "a100"}, 0, "a task asks for 2000000 MiB of memory; pods can have 1024000"},
		"more tasks than machines":     {ask{3, 1, 64, 8, "a100"}, 0, "the role has 3 tasks; the 2 machines of the kind a100 can run 2 at the same time"},
		"odd shares":                   {ask{3, 1, 64, 5, "a100"}, 0, "can run 2 at the same time"},
		"cores leave GPUs idle":        {ask{3, 60, 64, 1, "a100"}, 0, "can run 2 at the same time"},
		"a machine is not yet known":   {ask{50, 1, 64, 8, "new"}, 0, ""},
		"more than the quota":          {ask{2, 1, 64, 8, "a100"}, 15, "the job asks for 16 GPUs; virtual cluster default can use 15, of whichever kind"},
		"the quota counts other roles": {ask{2, 1, 64, 0, "a100"}, 15, ""},
	} {
		text := fmt.Sprintf(kindJob, c.ask.instances, c.ask.cpu, c.ask.memory, c.ask.gpu, c.ask.kind)
		spec, _, err := Parse([]byte(text), ParseOptions{Kinds: someKinds(), GPUQuota: c.quota})
		if c.want == "" && (err != nil || spec.TaskRoles[0].Kind != c.ask.kind || !spec.ChoosesKind()) || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

// Roles of one kind share its machines.
func TestRolesOfOneKindShareItsGPUs(t *testing.T) {
	t.Parallel()
	text := strings.NewReplacer("gpu: 0", "gpu: 8", "{skuType: a100}}", "{skuType: a100}, ps: {skuType: a100}}").Replace(fmt.Sprintf(kindJob, 1, 1, 64, 8, "a100"))
	if _, _, err := Parse([]byte(text), ParseOptions{Kinds: someKinds()}); err == nil || !strings.Contains(err.Error(), "the task roles ask for 24 GPUs of the kind a100; its machines have 16") {
		t.Errorf("got %v", err)
	}
	if _, _, err := Parse([]byte(strings.Replace(text, "instances: 2", "instances: 1", 1)), ParseOptions{Kinds: someKinds()}); err != nil {
		t.Errorf("got %v, want both roles beside each other", err)
	}
}

func TestNoMachineHasAKind(t *testing.T) {
	t.Parallel()
	text := []byte(fmt.Sprintf(kindJob, 1, 1, 64, 1, "a100"))
	if _, _, err := Parse(text, ParseOptions{Kinds: Kinds(nil)}); err == nil || !strings.Contains(err.Error(), "no machine has a kind") {
		t.Errorf("got %v", err)
	}
	if spec, _, err := Parse(text, ParseOptions{}); err != nil || spec.TaskRoles[0].Kind != "a100" {
		t.Errorf("got %v without a list of kinds", err)
	}
}

// Only the role that chose a kind has a selector, and nothing else of the pod changes.
func TestKindIsTheNodeSelector(t *testing.T) {
	t.Parallel()
	pods := func(kind string) []corev1.PodSpec {
		spec, _, err := Parse([]byte(fmt.Sprintf(kindJob, 2, 1, 64, 8, kind)), ParseOptions{Kinds: someKinds()})
		if err != nil {
			t.Fatal(err)
		}
		o, err := spec.Objects("alice", nil, "texts")
		if err != nil {
			t.Fatal(err)
		}
		if kinds := KindsOf(o.JobSet); strings.Join(kinds, " ") != strings.TrimPrefix(kind, "null") {
			t.Errorf("got kinds %q of the JobSet, want %q", kinds, kind)
		}
		return []corev1.PodSpec{spec.podSpec(spec.TaskRoles[0], "alice", "texts"), spec.podSpec(spec.TaskRoles[1], "alice", "texts")}
	}
	with, without := pods("a100"), pods("null")
	if !maps.Equal(with[0].NodeSelector, map[string]string{"pai.dev/machine-sku": "a100"}) || with[1].NodeSelector != nil {
		t.Errorf("got selectors %v and %v, want one for the role that chose", with[0].NodeSelector, with[1].NodeSelector)
	}
	if without[0].NodeSelector != nil || without[1].NodeSelector != nil {
		t.Errorf("got selectors %v of a job that chose none", without)
	}
}
