package guard

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/version"
	resourcehelper "k8s.io/component-helpers/resource"
	scheduling "k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"

	"pai.dev/pai/internal/pai"
)

// objection is a rule's no. unknown is true when the rule could not see.
type objection struct {
	rule    string
	text    string
	unknown bool
}

// rule is one condition for touching what runs a busy machine's containers.
// check returns why not, or "".
type rule struct {
	name  string
	check func(Facts) objection
}

// swapRules is the gate for swapping the kubelet in place.
func swapRules() []rule {
	return []rule{
		{"kubelet-version", on1(func(f Facts) Fact[Transition[string]] { return f.Kubelet }, kubeletVersion)},
		{"runtime-up", on1(func(f Facts) Fact[bool] { return f.RuntimeUp }, runtimeUp)},
		{"node-ready", on2(nodeOf, func(f Facts) Fact[bool] { return f.KubeletRuns }, nodeReady)},
		{"cpu-manager", on1(configOf, cpuManager)},
		{"memory-manager", on1(configOf, memoryManager)},
		{"topology-manager", on1(configOf, topologyManager)},
		{"cgroup-driver", on1(configOf, cgroupDriver)},
		{"reservations", on1(configOf, reservations)},
		{"node-affinity", on2(nodeOf, podsOf, nodeAffinity)},
		{"taints", on2(nodeOf, podsOf, taints)},
		{"resources", on2(nodeOf, podsOf, resources)},
		{ruleDevices, on2(nodeOf, podsOf, devices)},
		{"sandboxes", on1(podsOf, sandboxes)},
	}
}

// runtimeRules is the gate for restarting the container runtime.
func runtimeRules() []rule {
	return []rule{
		{"runtime-version", on1(func(f Facts) Fact[Transition[string]] { return f.Runtime }, runtimeVersion)},
		{"runtime-cgroups", on1(func(f Facts) Fact[Transition[string]] { return f.RuntimeCgroups }, runtimeCgroups)},
		{"runtime-kill-mode", on1(func(f Facts) Fact[string] { return f.RuntimeKillMode }, killMode)},
	}
}

func nodeOf(f Facts) Fact[*corev1.Node]                { return f.Node }
func podsOf(f Facts) Fact[[]corev1.Pod]                { return f.Pods }
func configOf(f Facts) Fact[Transition[KubeletConfig]] { return f.Config }

// on1 makes a check of a rule that rests on one fact: without it, the answer is no.
func on1[A any](a func(Facts) Fact[A], check func(A) string) func(Facts) objection {
	return func(f Facts) objection {
		fact := a(f)
		if !fact.known {
			return objection{text: fact.why(), unknown: true}
		}
		return objection{text: check(fact.value)}
	}
}

// on2 is on1 for a rule that rests on two facts.
func on2[A, B any](a func(Facts) Fact[A], b func(Facts) Fact[B], check func(A, B) string) func(Facts) objection {
	return func(f Facts) objection {
		fa, fb := a(f), b(f)
		if !fa.known {
			return objection{text: fa.why(), unknown: true}
		}
		if !fb.known {
			return objection{text: fb.why(), unknown: true}
		}
		return objection{text: check(fa.value, fb.value)}
	}
}

// objections runs all rules.
func objections(rules []rule, f Facts) []objection {
	var list []objection
	for _, r := range rules {
		if o := r.check(f); o.text != "" {
			o.rule = r.name
			list = append(list, o)
		}
	}
	return list
}

// oldestSafeKubelet is the first minor version whose containers' hashes stay
// the same in later ones: older kubelets restart every container when they are
// replaced, and some when the API server alone is
// (kubernetes/kubernetes #124220, #129385, #128917).
const oldestSafeKubelet = "1.31.0"

func kubeletVersion(c Transition[string]) string {
	for _, v := range []string{c.From, c.To} {
		if text := kubeletTooOld(v); text != "" {
			return text
		}
	}
	return ""
}

func kubeletTooOld(v string) string {
	parsed, err := version.ParseGeneric(v)
	if err != nil {
		return fmt.Sprintf("the kubelet's version %q is not a version", v)
	}
	if !parsed.AtLeast(version.MustParseGeneric(oldestSafeKubelet)) {
		return fmt.Sprintf("kubelet %s is older than %s and restarts containers when it is replaced", v, oldestSafeKubelet)
	}
	return ""
}

// runtimeUp: a kubelet that starts while the runtime is down fails pods
// (openshift/kubernetes #1618).
func runtimeUp(up bool) string {
	if !up {
		return "the container runtime does not answer"
	}
	return ""
}

// nodeReady: what is wrong on a machine before a swap would look like the
// swap's fault, and may hide it. Where no kubelet runs no machine is ready, and
// starting one is the cure.
func nodeReady(n *corev1.Node, kubeletRuns bool) string {
	if !kubeletRuns {
		return ""
	}
	for _, c := range n.Status.Conditions {
		if c.Type != corev1.NodeReady {
			continue
		}
		if c.Status == corev1.ConditionTrue {
			return ""
		}
		return fmt.Sprintf("the machine is not ready: %s", strings.TrimSpace(c.Reason+" "+c.Message))
	}
	return "the machine does not say whether it is ready"
}

// cpuManager and memoryManager: static policies fail running pods when the
// kubelet restarts (kubernetes/kubernetes #123971, #123859).
func cpuManager(c Transition[KubeletConfig]) string {
	return policy("CPU manager", "none", c.From.CPUManagerPolicy, c.To.CPUManagerPolicy)
}

func memoryManager(c Transition[KubeletConfig]) string {
	return policy("memory manager", "None", c.From.MemoryManagerPolicy, c.To.MemoryManagerPolicy)
}

// topologyManager: all policies but none and best-effort reject pods.
func topologyManager(c Transition[KubeletConfig]) string {
	if c.From.TopologyManagerPolicy == "best-effort" && c.To.TopologyManagerPolicy == "best-effort" {
		return ""
	}
	return policy("topology manager", "none", c.From.TopologyManagerPolicy, c.To.TopologyManagerPolicy)
}

// policy: an empty policy is the kubelet's default, which is none for all three.
func policy(what, none string, policies ...string) string {
	for _, p := range policies {
		if p != "" && p != none {
			return fmt.Sprintf("the kubelet's %s policy is %q, which fails running pods when the kubelet restarts", what, p)
		}
	}
	return ""
}

// cgroupDriver: a kubelet with another driver does not find its pods' groups.
func cgroupDriver(c Transition[KubeletConfig]) string {
	if c.From.CgroupDriver != c.To.CgroupDriver {
		return fmt.Sprintf("the kubelet's cgroup driver would change from %q to %q", c.From.CgroupDriver, c.To.CgroupDriver)
	}
	return ""
}

// reservations: allocatable must not shrink, because pods are admitted anew.
func reservations(c Transition[KubeletConfig]) string {
	if maps.Equal(c.From.Reserved, c.To.Reserved) {
		return ""
	}
	var changed []string
	for _, key := range slices.Sorted(maps.Keys(union(c.From.Reserved, c.To.Reserved))) {
		if c.From.Reserved[key] != c.To.Reserved[key] {
			changed = append(changed, fmt.Sprintf("%s from %q to %q", key, c.From.Reserved[key], c.To.Reserved[key]))
		}
	}
	return "what the kubelet reserves would change: " + strings.Join(changed, ", ")
}

func union(a, b map[string]string) map[string]string {
	all := maps.Clone(a)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, b)
	return all
}

// nodeAffinity: a kubelet rejects running pods that no longer match the
// node's labels (kubernetes/kubernetes #124586, #123980).
func nodeAffinity(n *corev1.Node, pods []corev1.Pod) string {
	for i := range pods {
		fits, err := nodeaffinity.GetRequiredNodeAffinity(&pods[i]).Match(n)
		if err != nil {
			return fmt.Sprintf("pod %s: its node affinity cannot be read: %v", name(&pods[i]), err)
		}
		if !fits {
			return fmt.Sprintf("pod %s no longer matches the machine's labels", name(&pods[i]))
		}
	}
	return ""
}

// taints: of all taints a kubelet's admission looks at NoExecute alone.
func taints(n *corev1.Node, pods []corev1.Pod) string {
	noExecute := func(t *corev1.Taint) bool { return t.Effect == corev1.TaintEffectNoExecute }
	for i := range pods {
		taint, found := scheduling.FindMatchingUntoleratedTaint(logr.Discard(), n.Spec.Taints, pods[i].Spec.Tolerations, noExecute, false)
		if found {
			return fmt.Sprintf("pod %s does not tolerate the machine's taint %s", name(&pods[i]), taint.ToString())
		}
	}
	return ""
}

func name(p *corev1.Pod) string { return p.Namespace + "/" + p.Name }

// resources: all pods together must still fit what the machine has to give.
func resources(n *corev1.Node, pods []corev1.Pod) string {
	return overCommitted(n, pods, func(r corev1.ResourceName) bool { return !extended(r) })
}

const ruleDevices = "devices"

// devices: the device plugins must have offered, and still offer, what the
// running pods hold (kubernetes/kubernetes #118559).
func devices(n *corev1.Node, pods []corev1.Pod) string {
	return overCommitted(n, pods, extended)
}

func overCommitted(n *corev1.Node, pods []corev1.Pod, which func(corev1.ResourceName) bool) string {
	sum := corev1.ResourceList{}
	for i := range pods {
		for r, q := range resourcehelper.PodRequests(&pods[i], resourcehelper.PodResourcesOptions{UseStatusResources: true}) {
			total := sum[r]
			total.Add(q)
			sum[r] = total
		}
	}
	for _, r := range slices.Sorted(maps.Keys(sum)) {
		need, have := sum[r], n.Status.Allocatable[r]
		if which(r) && need.Cmp(have) > 0 {
			return fmt.Sprintf("its running pods hold %s of %s, and the machine offers %s", quantity(need), r, quantity(have))
		}
	}
	return ""
}

func quantity(q resource.Quantity) string { return q.String() }

// extended are the resources that device plugins offer: named like a domain.
func extended(r corev1.ResourceName) bool {
	return strings.Contains(string(r), "/") && !strings.Contains(string(r), "kubernetes.io/")
}

// sandboxes: a kubelet makes a pod's sandbox, and with it every container,
// anew when the sandbox has no address.
func sandboxes(pods []corev1.Pod) string {
	for i := range pods {
		p := &pods[i]
		if p.Labels[pai.LabelJob] != "" && p.Status.Phase == corev1.PodRunning && !p.Spec.HostNetwork && p.Status.PodIP == "" {
			return fmt.Sprintf("pod %s runs without an address, and would be made anew", name(p))
		}
	}
	return ""
}

// runtimeVersion: shims of one major version are not served by another
// (containerd #12727, #11720).
func runtimeVersion(c Transition[string]) string {
	from, err := version.ParseGeneric(c.From)
	if err != nil {
		return fmt.Sprintf("the container runtime's version %q is not a version", c.From)
	}
	to, err := version.ParseGeneric(c.To)
	if err != nil {
		return fmt.Sprintf("the container runtime's version %q is not a version", c.To)
	}
	if from.Major() != to.Major() {
		return fmt.Sprintf("the container runtime would change its major version, from %s to %s", c.From, c.To)
	}
	return ""
}

func runtimeCgroups(c Transition[string]) string {
	if c.From != c.To {
		return fmt.Sprintf("the container runtime's cgroup driver would change from %q to %q", c.From, c.To)
	}
	return ""
}

// killMode: the containers' shims live in the runtime's unit, and outlive it
// only when systemd ends nothing but the main process.
func killMode(mode string) string {
	if mode != "process" {
		return fmt.Sprintf("the container runtime's unit has KillMode=%s: stopping it would end every container", mode)
	}
	return ""
}
