package guard

import (
	"fmt"
	"strings"

	"pai.dev/pai/internal/plan"
)

// rule is one condition for changing a busy machine in place.
type rule struct {
	name string
	// needs are the facts that check reads. If one of them is unknown, the rule
	// is violated without a check.
	needs func(Facts) []observation
	// check returns why the machine must not be changed in place, or "".
	check func(Facts) string
}

// violation says which rule is violated and why. unknown is true if a fact that
// the rule needs was not observed.
type violation struct {
	rule    string
	text    string
	unknown bool
}

// Rules whose violation might disappear by itself within seconds. What ruleShims
// finds is unknown: a shim that is not responding might have died.
const (
	ruleDevices = "devices"
	ruleShims   = "runtime-shims"
)

// transient reports whether a violation might disappear by itself within seconds.
func (v violation) transient() bool {
	return v.rule == ruleDevices && !v.unknown || v.rule == ruleShims
}

// inPlaceRules returns the rules for applying a step to a busy machine. known is
// false if no rules exist for the step, so that it needs an idle machine.
func inPlaceRules(step plan.Step) (rules []rule, known bool) {
	switch {
	case step.Kind == plan.KindKubelet:
		return kubeletInPlaceRules(), true
	case step.Kind == plan.KindRole && step.Role == plan.RoleRuntime:
		return runtimeInPlaceRules(), true
	case step.Kind == plan.KindRole && (step.Role == plan.RoleKubeProxy || step.Role == plan.RoleNetwork):
		return nil, true
	default:
		return nil, false
	}
}

func kubeletInPlaceRules() []rule {
	config := func(f Facts) []observation { return []observation{f.Config} }
	nodeAndPods := func(f Facts) []observation { return []observation{f.Node, f.Pods} }
	return []rule{
		{"kubelet-version", func(f Facts) []observation { return []observation{f.Kubelet} }, kubeletVersion},
		{"runtime-up", func(f Facts) []observation { return []observation{f.RuntimeUp} }, runtimeUp},
		{"node-ready", func(f Facts) []observation { return []observation{f.Node, f.KubeletRuns} }, nodeReady},
		{"cpu-manager", config, cpuManager},
		{"memory-manager", config, memoryManager},
		{"topology-manager", config, topologyManager},
		{"cgroup-driver", config, cgroupDriver},
		{"reservations", config, reservations},
		{"node-affinity", nodeAndPods, nodeAffinity},
		{"taints", nodeAndPods, taints},
		{"resources", nodeAndPods, resources},
		{ruleDevices, nodeAndPods, devices},
		{"sidecar-storage", func(f Facts) []observation { return []observation{f.Kubelet, f.Pods} }, sidecarStorage},
		{"sandboxes", func(f Facts) []observation { return []observation{f.Pods} }, sandboxes},
	}
}

func runtimeInPlaceRules() []rule {
	return []rule{
		{"runtime-version", func(f Facts) []observation { return []observation{f.Runtime} }, runtimeVersion},
		{"runtime-cgroups", func(f Facts) []observation { return []observation{f.RuntimeCgroups} }, runtimeCgroups},
		{"runtime-kill-mode", func(f Facts) []observation { return []observation{f.RuntimeKillMode} }, runtimeKillMode},
		{ruleShims, func(f Facts) []observation { return []observation{f.Shims} }, shimsAnswer},
	}
}

// evaluate returns nil if the rule is met.
func (r rule) evaluate(f Facts) *violation {
	for _, o := range r.needs(f) {
		if reason := o.unknownReason(); reason != "" {
			return &violation{rule: r.name, text: reason, unknown: true}
		}
	}
	if text := r.check(f); text != "" {
		return &violation{rule: r.name, text: text, unknown: r.name == ruleShims}
	}
	return nil
}

func violations(rules []rule, f Facts) []violation {
	var list []violation
	for _, r := range rules {
		if v := r.evaluate(f); v != nil {
			list = append(list, *v)
		}
	}
	return list
}

// describe names each reason once, with the rules that it violates.
func describe(list []violation) string {
	var reasons []string
	rules := map[string][]string{}
	for _, v := range list {
		reason := v.text
		if v.unknown {
			reason = "could not be observed: " + reason
		}
		if rules[reason] == nil {
			reasons = append(reasons, reason)
		}
		rules[reason] = append(rules[reason], v.rule)
	}
	for i, reason := range reasons {
		reasons[i] = fmt.Sprintf("%s (%s)", reason, strings.Join(rules[reason], ", "))
	}
	return strings.Join(reasons, "; ")
}
