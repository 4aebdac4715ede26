package guard

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/observe/running"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

const (
	gpu01 = "gpu-01"
	gpus  = corev1.ResourceName("nvidia.com/gpu")
)

func kubeletStep() plan.Step {
	return plan.Step{ID: "kubernetes/v0.10-pai/machine/gpu-01/kubelet", Kind: plan.KindKubelet, Target: gpu01, From: "v0.9-pai", To: "v0.10-pai", Risk: pai.RiskNode}
}

func runtimeStep() plan.Step {
	return plan.Step{ID: "kubernetes/v0.10-pai/machine/gpu-01/containerd", Kind: plan.KindRole, Role: plan.RoleRuntime, Target: gpu01, From: "v0.9-pai", To: "v0.10-pai", Risk: pai.RiskNode}
}

// jobOn returns a running job with one pod on each machine.
func jobOn(name string, machines ...string) pai.Job {
	j := pai.Job{JobRef: pai.JobRef{User: "ada", Name: name}, Object: name}
	for _, m := range machines {
		j.Pods = append(j.Pods, pai.Pod{Machine: m, Containers: []pai.Container{{State: pai.ContainerRunning}}})
	}
	return j
}

// busy returns the facts about a machine with a running job that meets every rule.
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
		Shims: Known([]inspect.Shim{{Container: inspect.Container{ID: "s0", Namespace: "pai-vc-default", Pod: "train-0"}, Sandbox: true},
			{Container: inspect.Container{ID: "c0", Namespace: "pai-vc-default", Pod: "train-0", Name: "main"}}}),
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

// withSidecar gives the pod an init container with a storage limit.
func withSidecar(f *Facts, from, to string, restart corev1.ContainerRestartPolicy) {
	f.Kubelet = Known(Transition[string]{from, to})
	c := corev1.Container{Name: "logs", Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceEphemeralStorage: resource.MustParse("1Gi")}}}
	if restart != "" {
		c.RestartPolicy = &restart
	}
	pod(f).Spec.InitContainers = []corev1.Container{c}
}

// TestInPlaceRules violates one condition at a time; each case needs its own rule.
func TestInPlaceRules(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		step   plan.Step
		change func(f *Facts)
		rule   string // the only one that is violated; none if empty
	}{
		"kubelet, all rules met":    {kubeletStep(), func(*Facts) {}, ""},
		"containerd, all rules met": {runtimeStep(), func(*Facts) {}, ""},

		"running kubelet too old": {kubeletStep(), func(f *Facts) { f.Kubelet = Known(Transition[string]{"v1.30.14", "v1.31.0"}) }, "kubelet-version"},
		"next kubelet too old":    {kubeletStep(), func(f *Facts) { f.Kubelet = Known(Transition[string]{"v1.31.0", "v1.30.14"}) }, "kubelet-version"},
		"oldest safe kubelet":     {kubeletStep(), func(f *Facts) { f.Kubelet = Known(Transition[string]{"v1.31.0", "v1.31.0"}) }, ""},
		"invalid kubelet version": {kubeletStep(), func(f *Facts) { f.Kubelet = Known(Transition[string]{"v1.35.4", "devel"}) }, "kubelet-version"},
		"runtime down":            {kubeletStep(), func(f *Facts) { f.RuntimeUp = Known(false) }, "runtime-up"},
		"node not ready":          {kubeletStep(), func(f *Facts) { node(f).Status.Conditions[0].Status = corev1.ConditionUnknown }, "node-ready"},
		"node without conditions": {kubeletStep(), func(f *Facts) { node(f).Status.Conditions = nil }, "node-ready"},
		"node not ready because no kubelet runs": {kubeletStep(), func(f *Facts) {
			f.KubeletRuns = Known(false)
			node(f).Status.Conditions[0].Status = corev1.ConditionUnknown
		}, ""},
		"static CPU manager now":     {kubeletStep(), func(f *Facts) { setConfig(f, func(c *KubeletConfig) { c.CPUManagerPolicy = "static" }, same) }, "cpu-manager"},
		"static CPU manager next":    {kubeletStep(), func(f *Facts) { setConfig(f, same, func(c *KubeletConfig) { c.CPUManagerPolicy = "static" }) }, "cpu-manager"},
		"static memory manager now":  {kubeletStep(), func(f *Facts) { setConfig(f, func(c *KubeletConfig) { c.MemoryManagerPolicy = "Static" }, same) }, "memory-manager"},
		"static memory manager next": {kubeletStep(), func(f *Facts) { setConfig(f, same, func(c *KubeletConfig) { c.MemoryManagerPolicy = "Static" }) }, "memory-manager"},
		"strict topology manager": {kubeletStep(), func(f *Facts) {
			setConfig(f, same, func(c *KubeletConfig) { c.TopologyManagerPolicy = "single-numa-node" })
		}, "topology-manager"},
		"lenient topology manager": {kubeletStep(), func(f *Facts) {
			lenient := func(c *KubeletConfig) { c.TopologyManagerPolicy = "best-effort" }
			setConfig(f, lenient, lenient)
		}, ""},
		"different cgroup driver": {kubeletStep(), func(f *Facts) { setConfig(f, same, func(c *KubeletConfig) { c.CgroupDriver = "systemd" }) }, "cgroup-driver"},
		"new reservation": {kubeletStep(), func(f *Facts) {
			setConfig(f, same, func(c *KubeletConfig) { c.Reserved = map[string]string{"maxPods": "110", "kubeReserved.cpu": "1"} })
		}, "reservations"},
		"label removed": {kubeletStep(), func(f *Facts) { node(f).Labels = nil }, "node-affinity"},
		"label of the affinity removed": {kubeletStep(), func(f *Facts) {
			pod(f).Spec.NodeSelector = nil
			pod(f).Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
				NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "rack", Operator: corev1.NodeSelectorOpExists}}}}}}}
		}, "node-affinity"},
		"new taint": {kubeletStep(), func(f *Facts) { node(f).Spec.Taints = []corev1.Taint{{Key: "x", Effect: corev1.TaintEffectNoExecute}} }, "taints"},
		"tolerated taint": {kubeletStep(), func(f *Facts) {
			node(f).Spec.Taints = []corev1.Taint{{Key: "x", Effect: corev1.TaintEffectNoExecute}}
			pod(f).Spec.Tolerations = []corev1.Toleration{{Key: "x", Operator: corev1.TolerationOpExists}}
		}, ""},
		"cordon":                       {kubeletStep(), func(f *Facts) { node(f).Spec.Taints = []corev1.Taint{{Key: "x", Effect: corev1.TaintEffectNoSchedule}} }, ""},
		"fewer CPUs":                   {kubeletStep(), func(f *Facts) { node(f).Status.Allocatable["cpu"] = resource.MustParse("3") }, "resources"},
		"missing GPU":                  {kubeletStep(), func(f *Facts) { node(f).Status.Allocatable[gpus] = resource.MustParse("7") }, "devices"},
		"missing device plugin":        {kubeletStep(), func(f *Facts) { delete(node(f).Status.Allocatable, gpus) }, "devices"},
		"sidecar with a storage limit": {kubeletStep(), func(f *Facts) { withSidecar(f, "v1.36.3", "v1.37.2", corev1.ContainerRestartPolicyAlways) }, "sidecar-storage"},
		"sidecar with a storage limit, enforced already": {kubeletStep(), func(f *Facts) { withSidecar(f, "v1.37.1", "v1.37.2", corev1.ContainerRestartPolicyAlways) }, ""},
		"sidecar with a storage limit, rollback":         {kubeletStep(), func(f *Facts) { withSidecar(f, "v1.37.2", "v1.36.3", corev1.ContainerRestartPolicyAlways) }, ""},
		"init container with a storage limit":            {kubeletStep(), func(f *Facts) { withSidecar(f, "v1.36.3", "v1.37.2", "") }, ""},
		"pod without an IP address":                      {kubeletStep(), func(f *Facts) { pod(f).Status.PodIP = "" }, "sandboxes"},

		"containerd, next major version":      {runtimeStep(), func(f *Facts) { f.Runtime = Known(Transition[string]{"1.7.27", "2.2.3"}) }, "runtime-version"},
		"containerd, previous major version":  {runtimeStep(), func(f *Facts) { f.Runtime = Known(Transition[string]{"2.2.3", "1.7.27"}) }, "runtime-version"},
		"containerd, invalid version":         {runtimeStep(), func(f *Facts) { f.Runtime = Known(Transition[string]{"2.2.3", "unknown"}) }, "runtime-version"},
		"containerd, different cgroup driver": {runtimeStep(), func(f *Facts) { f.RuntimeCgroups = Known(Transition[string]{"cgroupfs", "systemd"}) }, "runtime-cgroups"},
		"containerd, KillMode ends the shims": {runtimeStep(), func(f *Facts) { f.RuntimeKillMode = Known("control-group") }, "runtime-kill-mode"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := busy()
			test.change(&f)
			d := Decide(test.step, pai.RiskNode, f, nil)
			if test.rule == "" {
				if d.Verdict != Go || len(d.Jobs) != 1 {
					t.Fatalf("got %+v, want go with one job", d)
				}
				return
			}
			if d.Verdict != Wait || !strings.HasSuffix(d.Reason, "("+test.rule+")") || strings.Count(d.Reason, " (") != 1 {
				t.Fatalf("got %+v, want wait because of %s alone", d, test.rule)
			}
			if len(d.Jobs) != 1 || !strings.Contains(d.Next, "ada~train") || !strings.Contains(d.Next, "--accept-risk=evict-jobs:gpu-01") {
				t.Errorf("got %+v, want the affected job and a hint", d)
			}
		})
	}
}

func TestInPlaceRulesRefuseIfAFactIsUnknown(t *testing.T) {
	t.Parallel()
	lost := errors.New("no route to host")
	for name, test := range map[string]struct {
		step   plan.Step
		change func(f *Facts)
		rules  []string // that need the fact
	}{
		"node":          {kubeletStep(), func(f *Facts) { f.Node = Unknown[*corev1.Node](lost) }, []string{"node-ready", "node-affinity", "taints", "resources", "devices"}},
		"pods":          {kubeletStep(), func(f *Facts) { f.Pods = Unknown[[]corev1.Pod](lost) }, []string{"node-affinity", "taints", "resources", "devices", "sidecar-storage", "sandboxes"}},
		"kubelet":       {kubeletStep(), func(f *Facts) { f.Kubelet = Unknown[Transition[string]](lost) }, []string{"kubelet-version", "sidecar-storage"}},
		"kubelet state": {kubeletStep(), func(f *Facts) { f.KubeletRuns = Unknown[bool](lost) }, []string{"node-ready"}},
		"runtime state": {kubeletStep(), func(f *Facts) { f.RuntimeUp = Unknown[bool](lost) }, []string{"runtime-up"}},
		"configuration": {kubeletStep(), func(f *Facts) { f.Config = Unknown[Transition[KubeletConfig]](lost) },
			[]string{"cpu-manager", "memory-manager", "topology-manager", "cgroup-driver", "reservations"}},
		"runtime":         {runtimeStep(), func(f *Facts) { f.Runtime = Unknown[Transition[string]](lost) }, []string{"runtime-version"}},
		"runtime cgroups": {runtimeStep(), func(f *Facts) { f.RuntimeCgroups = Unknown[Transition[string]](lost) }, []string{"runtime-cgroups"}},
		"runtime unit":    {runtimeStep(), func(f *Facts) { f.RuntimeKillMode = Unknown[string](lost) }, []string{"runtime-kill-mode"}},
		"shims":           {runtimeStep(), func(f *Facts) { f.Shims = Unknown[[]inspect.Shim](lost) }, []string{"runtime-shims"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := busy()
			test.change(&f)
			d := Decide(test.step, pai.RiskNode, f, nil)
			if want := "could not be observed: no route to host (" + strings.Join(test.rules, ", ") + ")"; d.Verdict != Refuse || !strings.HasSuffix(d.Reason, want) {
				t.Fatalf("got %+v, want refuse because of %v", d, test.rules)
			}
		})
	}
	if d := Decide(kubeletStep(), pai.RiskNode, Facts{}, nil); d.Verdict != Refuse {
		t.Errorf("without facts: got %+v, want refuse", d)
	}
}

// TestUnknownFactsNeedAnIdleMachine removes every combination of facts. A busy
// machine is then refused, and an idle machine needs a cordon.
func TestUnknownFactsNeedAnIdleMachine(t *testing.T) {
	t.Parallel()
	lost := errors.New("no route to host")
	remove := []func(f *Facts){
		func(f *Facts) { f.Node = Unknown[*corev1.Node](lost) },
		func(f *Facts) { f.Pods = Unknown[[]corev1.Pod](lost) },
		func(f *Facts) { f.Kubelet = Unknown[Transition[string]](lost) },
		func(f *Facts) { f.KubeletRuns = Unknown[bool](lost) },
		func(f *Facts) { f.RuntimeUp = Unknown[bool](lost) },
		func(f *Facts) { f.Config = Unknown[Transition[KubeletConfig]](lost) },
	}
	for missing := range 1 << len(remove) {
		f := busy()
		for i, r := range remove {
			if missing&(1<<i) != 0 {
				r(&f)
			}
		}
		if d := Decide(kubeletStep(), pai.RiskNode, f, nil); (d.Verdict == Go) != (missing == 0) {
			t.Errorf("busy machine without facts %06b: got %+v", missing, d)
		}
		f.Jobs, f.Containers = Known([]pai.Job(nil)), Known([]running.Container(nil))
		if d := Decide(kubeletStep(), pai.RiskNode, f, nil); d.Verdict != Go || d.NeedsCordon != (missing != 0) {
			t.Errorf("idle machine without facts %06b: got %+v", missing, d)
		}
	}
}

// TestRulesNeedTheFactsTheyRead keeps only the facts that a rule names: its
// answer must stay the same, whatever is wrong with the machine.
func TestRulesNeedTheFactsTheyRead(t *testing.T) {
	t.Parallel()
	wrong := busy()
	withSidecar(&wrong, "v1.30.14", "v1.37.2", corev1.ContainerRestartPolicyAlways)
	wrong.Runtime = Known(Transition[string]{"1.7.27", "2.2.3"})
	wrong.Shims = Known([]inspect.Shim{{Container: inspect.Container{ID: "c0"}, Problem: "no answer"}})
	wrong.RuntimeUp, wrong.RuntimeKillMode = Known(false), Known("control-group")
	wrong.RuntimeCgroups = Known(Transition[string]{"cgroupfs", "systemd"})
	node(&wrong).Labels, node(&wrong).Status.Allocatable, node(&wrong).Status.Conditions = nil, nil, nil
	node(&wrong).Spec.Taints = []corev1.Taint{{Key: "x", Effect: corev1.TaintEffectNoExecute}}
	pod(&wrong).Status.PodIP = ""
	setConfig(&wrong, same, func(c *KubeletConfig) {
		*c = KubeletConfig{CPUManagerPolicy: "static", MemoryManagerPolicy: "Static", TopologyManagerPolicy: "restricted", CgroupDriver: "systemd"}
	})
	for _, r := range append(kubeletInPlaceRules(), runtimeInPlaceRules()...) {
		only := Facts{}
		for _, o := range r.needs(wrong) {
			from, to := reflect.ValueOf(wrong), reflect.ValueOf(&only).Elem()
			for i := range from.NumField() {
				if reflect.DeepEqual(from.Field(i).Interface(), o) {
					to.Field(i).Set(from.Field(i))
				}
			}
		}
		if v := r.evaluate(wrong); v == nil || v.unknown != (r.name == ruleShims) {
			t.Errorf("rule %s: got %+v, want a violation", r.name, v)
		} else if alone := r.evaluate(only); alone == nil || *alone != *v {
			t.Errorf("rule %s: got %+v with its own facts, want %+v", r.name, alone, v)
		}
	}
}
