package guard

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/inspect/helper"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/plan"
)

// Configuration files of two roles, relative to the directory of a version.
const (
	kubeletConfigFile = "/etc/" + layout.KubeletConfigName
	runtimeConfigFile = "/etc/" + layout.ContainerdConfigName
)

// observeMachine sets the facts that the machine itself knows. The version of the
// running container runtime is that of its process, because the link of its role
// might already name the next version.
func (l LiveFacts) observeMachine(ctx context.Context, host machine.Host, step plan.Step, f *Facts) {
	next := layout.VersionDir(step.To) + "/bin/"
	needed := []inspect.Part{inspect.Roles, inspect.Versions, inspect.Runtime, inspect.Prepared}
	parts := needed
	if step.Role == plan.RoleRuntime {
		parts = append(slices.Clone(needed), inspect.Shims)
	}
	report, err := helper.Inspect(ctx, host, inspect.Request{
		Parts: parts,
		Only:  []layout.Role{layout.RoleKubelet, layout.RoleRuntime}, Programs: []string{next + "kubelet", next + "containerd"},
	}, needed...)
	if err != nil {
		f.setMachineUnknown(fmt.Errorf("observe %s: %w", host.Name(), err))
		return
	}
	runtime := report.Roles[layout.RoleRuntime]
	program := runtime.MainProgram(layout.RoleRuntime)
	version := func(program string, word int) string {
		if words := strings.Fields(report.Versions[program]); len(words) > word {
			return words[word]
		}
		return ""
	}
	nextKubelet := version(next+"kubelet", 1) // the API knows the running version
	f.Kubelet = transition("next kubelet version", nextKubelet, nextKubelet)
	// A kubelet whose identity has ended starts again and again, or runs without the API.
	f.KubeletRuns = Known(report.Roles[layout.RoleKubelet].Active && (report.Prepared == nil || !report.Prepared.IdentityEnded))
	f.RuntimeUp = Known(*report.RuntimeUp)
	f.Runtime = transition("container runtime versions", version(program, 2), version(next+"containerd", 2))
	f.RuntimeKillMode = valueOf("container runtime kill mode", runtime.KillMode)
	if step.Role == plan.RoleRuntime {
		f.Shims = Observed(report.Shims, report.ErrorOf(inspect.Shims))
		f.RuntimeCgroups = Observed(l.runtimeCgroups(ctx, host, step, strings.TrimSuffix(program, "/bin/containerd")))
	}
}

// runtimeCgroups reads the cgroup driver from the configuration of the running
// container runtime, and from the configuration that the step would use.
func (l LiveFacts) runtimeCgroups(ctx context.Context, host machine.Host, step plan.Step, dir string) (Transition[string], error) {
	var c Transition[string]
	if dir == "" {
		return c, fmt.Errorf("%s does not report its running container runtime", host.Name())
	}
	now, err := host.ReadFile(ctx, dir+runtimeConfigFile)
	if err != nil {
		return c, fmt.Errorf("read the container runtime configuration of %s: %w", host.Name(), err)
	}
	next, err := l.nextFile(ctx, host, step, runtimeConfigFile)
	if err != nil {
		return c, err
	}
	return Transition[string]{From: cgroupDriverOf(now), To: cgroupDriverOf(next)}, nil
}

// nextFile returns a file of the step's version as the step would write it.
func (l LiveFacts) nextFile(ctx context.Context, host machine.Host, step plan.Step, name string) ([]byte, error) {
	path := layout.VersionDir(step.To) + name
	if l.Files == nil {
		data, err := host.ReadFile(ctx, path)
		if err != nil {
			return nil, fmt.Errorf("read %s on %s: %w", path, host.Name(), err)
		}
		return data, nil
	}
	files, err := l.Files(ctx, step)
	if err != nil {
		return nil, fmt.Errorf("render the files of the step for %s: %w", host.Name(), err)
	}
	text, found := files[path]
	if !found {
		return nil, fmt.Errorf("the step would not write %s on %s", path, host.Name())
	}
	return []byte(text), nil
}

// cgroupDriverOf returns the cgroup driver in a containerd configuration: the
// option SystemdCgroup of the runtime runc.
func cgroupDriverOf(config []byte) string {
	for line := range strings.Lines(string(config)) {
		key, value, _ := strings.Cut(line, "=")
		if strings.TrimSpace(key) == "SystemdCgroup" && strings.TrimSpace(value) == "true" {
			return "systemd"
		}
	}
	return "cgroupfs"
}

// valueOf returns what the machine reports as a fact.
func valueOf(what, value string) Fact[string] {
	if value == "" {
		return Unknown[string](fmt.Errorf("the machine does not report its %s", what))
	}
	return Known(value)
}

func transition(what, from, to string) Fact[Transition[string]] {
	if from == "" || to == "" {
		return Unknown[Transition[string]](fmt.Errorf("the machine does not report its %s", what))
	}
	return Known(Transition[string]{From: from, To: to})
}

// kubeletOnMachine returns the version of the kubelet that the role link of a
// machine names. It is empty if there is no kubelet.
func kubeletOnMachine(ctx context.Context, host machine.Host) (string, error) {
	kubelet := layout.RoleProgram(layout.RoleKubelet, "kubelet")
	report, err := helper.Inspect(ctx, host, inspect.Request{Parts: []inspect.Part{inspect.Versions}, Programs: []string{kubelet}}, inspect.Versions)
	if err == nil {
		err = report.ProblemOf(inspect.Versions, kubelet)
	}
	if err != nil {
		return "", fmt.Errorf("read the kubelet version on %s: %w", host.Name(), err)
	}
	return strings.TrimPrefix(report.Versions[kubelet], "Kubernetes "), nil
}

// kubeletFile is the part of a KubeletConfiguration (kubelet.config.k8s.io/v1beta1)
// that the rules use.
type kubeletFile struct {
	KubeletConfig          `json:",inline"`
	KubeReserved           map[string]string `json:"kubeReserved"`
	SystemReserved         map[string]string `json:"systemReserved"`
	EvictionHard           map[string]string `json:"evictionHard"`
	ReservedSystemCPUs     string            `json:"reservedSystemCPUs"`
	MaxPods                int               `json:"maxPods"`
	EnforceNodeAllocatable []string          `json:"enforceNodeAllocatable"`
}

// kubeletConfigs reads the configuration of the running kubelet (configz, through
// the node proxy of the API) and of the kubelet that the step would start. If no
// kubelet runs, there is only the next one.
func (l LiveFacts) kubeletConfigs(ctx context.Context, core kubernetes.Interface, host machine.Host, step plan.Step, runs Fact[bool]) (Transition[KubeletConfig], error) {
	var c Transition[KubeletConfig]
	data, err := l.nextFile(ctx, host, step, kubeletConfigFile)
	if err != nil {
		return c, err
	}
	var next kubeletFile
	if err := yaml.Unmarshal(data, &next); err != nil {
		return c, fmt.Errorf("parse the next kubelet configuration on %s: %w", host.Name(), err)
	}
	c.To = next.config()
	if runs.known && !runs.value {
		c.From = c.To
		return c, nil
	}
	raw, err := core.CoreV1().RESTClient().Get().Resource("nodes").Name(host.Name()).SubResource("proxy").Suffix("configz").DoRaw(ctx)
	if err != nil {
		return c, fmt.Errorf("read the configuration of the kubelet on %s: %w", host.Name(), err)
	}
	var now struct {
		KubeletConfig *kubeletFile `json:"kubeletconfig"`
	}
	if err := json.Unmarshal(raw, &now); err != nil {
		return c, fmt.Errorf("parse the configuration of the kubelet on %s: %w", host.Name(), err)
	}
	if now.KubeletConfig == nil {
		return c, fmt.Errorf("the kubelet on %s does not report its configuration", host.Name())
	}
	c.From = now.KubeletConfig.config()
	return c, nil
}

// Defaults of the kubelet for settings that a file omits
// (k8s.io/kubernetes pkg/kubelet/apis/config/v1beta1/defaults.go).
const (
	defaultCgroupDriver = "cgroupfs"
	defaultMaxPods      = 110
)

func defaultEvictionHard() map[string]string {
	return map[string]string{"memory.available": "100Mi", "nodefs.available": "10%", "nodefs.inodesFree": "5%", "imagefs.available": "15%", "imagefs.inodesFree": "5%"}
}

// config fills in the defaults, as a running kubelet does in its own report.
func (k kubeletFile) config() KubeletConfig {
	c := k.KubeletConfig
	c.CgroupDriver = cmp.Or(c.CgroupDriver, defaultCgroupDriver)
	c.Reserved = map[string]string{}
	if k.EvictionHard == nil {
		k.EvictionHard = defaultEvictionHard()
	}
	if k.EnforceNodeAllocatable == nil {
		k.EnforceNodeAllocatable = []string{"pods"}
	}
	for prefix, values := range map[string]map[string]string{"kubeReserved": k.KubeReserved, "systemReserved": k.SystemReserved, "evictionHard": k.EvictionHard} {
		for key, value := range values {
			c.Reserved[prefix+"."+key] = value
		}
	}
	maps.DeleteFunc(c.Reserved, func(_, v string) bool { return v == "" })
	if k.ReservedSystemCPUs != "" {
		c.Reserved["reservedSystemCPUs"] = k.ReservedSystemCPUs
	}
	c.Reserved["maxPods"] = fmt.Sprint(cmp.Or(k.MaxPods, defaultMaxPods))
	c.Reserved["enforceNodeAllocatable"] = strings.Join(slices.Sorted(slices.Values(k.EnforceNodeAllocatable)), ",")
	return c
}
