package guard

import (
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pai.dev/pai/internal/observe/running"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

const (
	gpu01 = "gpu-01"
	gpus  = corev1.ResourceName("nvidia.com/gpu")
)

func swap() plan.Step {
	return plan.Step{ID: "kubernetes/v0.10-pai/machine/gpu-01/kubelet", Kind: plan.KindKubelet, Target: gpu01, From: "v0.9-pai", To: "v0.10-pai", Risk: pai.RiskNode}
}

func runtimeStep() plan.Step {
	return plan.Step{ID: "kubernetes/v0.10-pai/machine/gpu-01/containerd", Kind: plan.KindRole, Role: plan.RoleRuntime, Target: gpu01, From: "v0.9-pai", To: "v0.10-pai", Risk: pai.RiskNode}
}

// jobOn is a running job with one pod on each machine.
func jobOn(name string, machines ...string) pai.Job {
	j := pai.Job{JobRef: pai.JobRef{User: "ada", Name: name}, Object: name}
	for _, m := range machines {
		j.Pods = append(j.Pods, pai.Pod{Machine: m, Containers: []pai.Container{{State: pai.ContainerRunning}}})
	}
	return j
}

// busy are the facts about a machine on which a job runs, everything in order.
func busy() Facts {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: gpu01, Labels: map[string]string{"sku": "h200"}}}
	node.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	node.Status.Allocatable = corev1.ResourceList{"cpu": resource.MustParse("8"), "memory": resource.MustParse("32Gi"), gpus: resource.MustParse("8")}
	pod := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "pai-vc-default", Name: "train-0", Labels: map[string]string{pai.LabelJob: "train"}}}
	pod.Spec.NodeSelector = map[string]string{"sku": "h200"}
	pod.Spec.Containers = []corev1.Container{{Name: "main", Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{
		"cpu": resource.MustParse("4"), gpus: resource.MustParse("8")}}}}
	pod.Status = corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "10.244.0.7"}
	config := KubeletConfig{CPUManagerPolicy: "none", MemoryManagerPolicy: "None", TopologyManagerPolicy: "none", CgroupDriver: "cgroupfs",
		Reserved: map[string]string{"maxPods": "110"}}
	return Facts{
		Jobs:            Known([]pai.Job{jobOn("train", gpu01)}),
		Containers:      Known([]running.Container{{ID: "c0", Namespace: "pai-vc-default"}}),
		Node:            Known(node),
		Pods:            Known([]corev1.Pod{pod}),
		Kubelet:         Known(Transition[string]{"v1.35.4", "v1.36.3"}),
		Runtime:         Known(Transition[string]{"2.2.3", "v2.3.0"}),
		KubeletRuns:     Known(true),
		RuntimeUp:       Known(true),
		Config:          Known(Transition[KubeletConfig]{config, config}),
		RuntimeCgroups:  Known(Transition[string]{"cgroupfs", "cgroupfs"}),
		RuntimeKillMode: Known("process"),
	}
}

func node(f *Facts) *corev1.Node { return f.Node.value }
func pod(f *Facts) *corev1.Pod   { return &f.Pods.value[0] }

func setConfig(f *Facts, from, to func(c *KubeletConfig)) {
	c := f.Config.value
	from(&c.From)
	to(&c.To)
	f.Config = Known(c)
}

func same(*KubeletConfig) {}

// TestGate breaks one condition at a time; each case needs its own rule.
func TestGate(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		step  plan.Step
		spoil func(f *Facts)
		rule  string // that objects; none when empty
	}{
		"kubelet: all in order":    {swap(), func(*Facts) {}, ""},
		"containerd: all in order": {runtimeStep(), func(*Facts) {}, ""},

		"the old kubelet is too old": {swap(), func(f *Facts) { f.Kubelet = Known(Transition[string]{"v1.30.14", "v1.31.0"}) }, "kubelet-version"},
		"the new kubelet is too old": {swap(), func(f *Facts) { f.Kubelet = Known(Transition[string]{"v1.31.0", "v1.30.14"}) }, "kubelet-version"},
		"the oldest good kubelet":    {swap(), func(f *Facts) { f.Kubelet = Known(Transition[string]{"v1.31.0", "v1.31.0"}) }, ""},
		"a version nobody can read":  {swap(), func(f *Facts) { f.Kubelet = Known(Transition[string]{"v1.35.4", "devel"}) }, "kubelet-version"},
		"the runtime is down":        {swap(), func(f *Facts) { f.RuntimeUp = Known(false) }, "runtime-up"},
		"the node is not ready":      {swap(), func(f *Facts) { node(f).Status.Conditions[0].Status = corev1.ConditionUnknown }, "node-ready"},
		"the node says nothing":      {swap(), func(f *Facts) { node(f).Status.Conditions = nil }, "node-ready"},
		"no kubelet runs, so no node is ready": {swap(), func(f *Facts) {
			f.KubeletRuns = Known(false)
			node(f).Status.Conditions[0].Status = corev1.ConditionUnknown
		}, ""},
		"static CPU manager now":     {swap(), func(f *Facts) { setConfig(f, func(c *KubeletConfig) { c.CPUManagerPolicy = "static" }, same) }, "cpu-manager"},
		"static CPU manager next":    {swap(), func(f *Facts) { setConfig(f, same, func(c *KubeletConfig) { c.CPUManagerPolicy = "static" }) }, "cpu-manager"},
		"static memory manager now":  {swap(), func(f *Facts) { setConfig(f, func(c *KubeletConfig) { c.MemoryManagerPolicy = "Static" }, same) }, "memory-manager"},
		"static memory manager next": {swap(), func(f *Facts) { setConfig(f, same, func(c *KubeletConfig) { c.MemoryManagerPolicy = "Static" }) }, "memory-manager"},
		"strict topology manager": {swap(), func(f *Facts) {
			setConfig(f, same, func(c *KubeletConfig) { c.TopologyManagerPolicy = "single-numa-node" })
		}, "topology-manager"},
		"lenient topology manager": {swap(), func(f *Facts) {
			lenient := func(c *KubeletConfig) { c.TopologyManagerPolicy = "best-effort" }
			setConfig(f, lenient, lenient)
		}, ""},
		"another cgroup driver": {swap(), func(f *Facts) { setConfig(f, same, func(c *KubeletConfig) { c.CgroupDriver = "systemd" }) }, "cgroup-driver"},
		"more is reserved": {swap(), func(f *Facts) {
			setConfig(f, same, func(c *KubeletConfig) { c.Reserved = map[string]string{"maxPods": "110", "kubeReserved.cpu": "1"} })
		}, "reservations"},
		"a label is gone": {swap(), func(f *Facts) { node(f).Labels = nil }, "node-affinity"},
		"a label of the affinity is gone": {swap(), func(f *Facts) {
			pod(f).Spec.NodeSelector = nil
			pod(f).Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
				NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "rack", Operator: corev1.NodeSelectorOpExists}}}}}}}
		}, "node-affinity"},
		"a taint is new": {swap(), func(f *Facts) { node(f).Spec.Taints = []corev1.Taint{{Key: "x", Effect: corev1.TaintEffectNoExecute}} }, "taints"},
		"a taint is tolerated": {swap(), func(f *Facts) {
			node(f).Spec.Taints = []corev1.Taint{{Key: "x", Effect: corev1.TaintEffectNoExecute}}
			pod(f).Spec.Tolerations = []corev1.Toleration{{Key: "x", Operator: corev1.TolerationOpExists}}
		}, ""},
		"a cordon does not count":   {swap(), func(f *Facts) { node(f).Spec.Taints = []corev1.Taint{{Key: "x", Effect: corev1.TaintEffectNoSchedule}} }, ""},
		"the machine has less":      {swap(), func(f *Facts) { node(f).Status.Allocatable["cpu"] = resource.MustParse("3") }, "resources"},
		"a GPU is missing":          {swap(), func(f *Facts) { node(f).Status.Allocatable[gpus] = resource.MustParse("7") }, "devices"},
		"the device plugin is gone": {swap(), func(f *Facts) { delete(node(f).Status.Allocatable, gpus) }, "devices"},
		"a pod lost its address":    {swap(), func(f *Facts) { pod(f).Status.PodIP = "" }, "sandboxes"},

		"containerd: another major":         {runtimeStep(), func(f *Facts) { f.Runtime = Known(Transition[string]{"1.7.27", "2.2.3"}) }, "runtime-version"},
		"containerd: back to another major": {runtimeStep(), func(f *Facts) { f.Runtime = Known(Transition[string]{"2.2.3", "1.7.27"}) }, "runtime-version"},
		"containerd: unreadable version":    {runtimeStep(), func(f *Facts) { f.Runtime = Known(Transition[string]{"2.2.3", "unknown"}) }, "runtime-version"},
		"containerd: another driver":        {runtimeStep(), func(f *Facts) { f.RuntimeCgroups = Known(Transition[string]{"cgroupfs", "systemd"}) }, "runtime-cgroups"},
		"containerd: unit kills its shims":  {runtimeStep(), func(f *Facts) { f.RuntimeKillMode = Known("control-group") }, "runtime-kill-mode"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := busy()
			test.spoil(&f)
			d := Decide(test.step, pai.RiskNode, f, nil)
			if test.rule == "" {
				if d.Verdict != Go || len(d.Jobs) != 1 {
					t.Fatalf("got %+v, want go, naming the job", d)
				}
				return
			}
			if d.Verdict != Wait || !strings.HasSuffix(d.Reason, "("+test.rule+")") || strings.Count(d.Reason, "; ") > 0 {
				t.Fatalf("got %+v, want to wait because of %s alone", d, test.rule)
			}
			if len(d.Jobs) != 1 || !strings.Contains(d.Next, "ada~train") || !strings.Contains(d.Next, "--accept-risk=evict-jobs:gpu-01") {
				t.Errorf("the decision does not say whom it touches and what to do: %+v", d)
			}
		})
	}
}

// TestGateFailsClosed takes away one fact at a time.
func TestGateFailsClosed(t *testing.T) {
	t.Parallel()
	lost := errors.New("the line is dead")
	for name, test := range map[string]struct {
		step  plan.Step
		lose  func(f *Facts)
		rules []string // that cannot see then
	}{
		"node":                  {swap(), func(f *Facts) { f.Node = Unknown[*corev1.Node](lost) }, []string{"node-ready", "node-affinity", "taints", "resources", "devices"}},
		"pods":                  {swap(), func(f *Facts) { f.Pods = Unknown[[]corev1.Pod](lost) }, []string{"node-affinity", "taints", "resources", "devices", "sandboxes"}},
		"kubelet":               {swap(), func(f *Facts) { f.Kubelet = Unknown[Transition[string]](lost) }, []string{"kubelet-version"}},
		"whether it runs":       {swap(), func(f *Facts) { f.KubeletRuns = Unknown[bool](lost) }, []string{"node-ready"}},
		"whether runtime is up": {swap(), func(f *Facts) { f.RuntimeUp = Unknown[bool](lost) }, []string{"runtime-up"}},
		"configuration": {swap(), func(f *Facts) { f.Config = Unknown[Transition[KubeletConfig]](lost) },
			[]string{"cpu-manager", "memory-manager", "topology-manager", "cgroup-driver", "reservations"}},
		"runtime":           {runtimeStep(), func(f *Facts) { f.Runtime = Unknown[Transition[string]](lost) }, []string{"runtime-version"}},
		"runtime's cgroups": {runtimeStep(), func(f *Facts) { f.RuntimeCgroups = Unknown[Transition[string]](lost) }, []string{"runtime-cgroups"}},
		"runtime's unit":    {runtimeStep(), func(f *Facts) { f.RuntimeKillMode = Unknown[string](lost) }, []string{"runtime-kill-mode"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := busy()
			test.lose(&f)
			d := Decide(test.step, pai.RiskNode, f, nil)
			if want := "could not be observed: the line is dead (" + strings.Join(test.rules, ", ") + ")"; d.Verdict != Refuse || !strings.HasSuffix(d.Reason, want) {
				t.Fatalf("got %+v, want a refusal by %v", d, test.rules)
			}
		})
	}
	if d := Decide(swap(), pai.RiskNode, Facts{}, nil); d.Verdict != Refuse {
		t.Errorf("without any fact: %+v, want a refusal", d)
	}
}

// TestGateFailsClosedWhateverIsMissing takes away any of the facts, with any of
// the rest in order: a busy machine is never touched then, and an idle one only
// while new jobs are kept off.
func TestGateFailsClosedWhateverIsMissing(t *testing.T) {
	t.Parallel()
	lost := errors.New("the line is dead")
	lose := []func(f *Facts){
		func(f *Facts) { f.Node = Unknown[*corev1.Node](lost) },
		func(f *Facts) { f.Pods = Unknown[[]corev1.Pod](lost) },
		func(f *Facts) { f.Kubelet = Unknown[Transition[string]](lost) },
		func(f *Facts) { f.KubeletRuns = Unknown[bool](lost) },
		func(f *Facts) { f.RuntimeUp = Unknown[bool](lost) },
		func(f *Facts) { f.Config = Unknown[Transition[KubeletConfig]](lost) },
	}
	for missing := range 1 << len(lose) {
		f := busy()
		for i, l := range lose {
			if missing&(1<<i) != 0 {
				l(&f)
			}
		}
		if d := Decide(swap(), pai.RiskNode, f, nil); (d.Verdict == Go) != (missing == 0) {
			t.Errorf("busy, without the facts %06b: %+v", missing, d)
		}
		f.Jobs, f.Containers = Known([]pai.Job(nil)), Known([]running.Container(nil))
		if d := Decide(swap(), pai.RiskNode, f, nil); d.Verdict != Go || d.NeedsCordon != (missing != 0) {
			t.Errorf("idle, without the facts %06b: %+v", missing, d)
		}
	}
}
