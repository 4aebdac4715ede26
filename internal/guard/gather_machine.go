package guard

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/plan"
)

// Where a version of Kubernetes keeps the configuration of two roles, below
// its folder on a machine.
const (
	kubeletConfigFile = "/etc/kubelet.yaml"
	runtimeConfigFile = "/etc/containerd.toml"
)

// versionFolder is the folder of one version of Kubernetes on a machine.
func versionFolder(step plan.Step) string { return "/opt/pai/" + string(step.To) }

// machineScript says, as key=value lines, what a machine knows of itself. What
// it cannot find out it leaves out. $NEXT is the folder of the step's version.
//
// The running runtime's folder is that of the program that runs, because its
// link may have been moved already.
const machineScript = `
say() { [ -z "$2" ] || printf '%s=%s\n' "$1" "$2"; }
say next-kubelet-version "$("$NEXT/bin/kubelet" --version 2>/dev/null | awk '{print $2}')"
say kubelet-state "$(systemctl is-active pai-kubelet.service 2>/dev/null || :)"
if /opt/pai/role/containerd/bin/ctr version >/dev/null 2>&1; then say container-runtime-state yes; else say container-runtime-state no; fi
pid=$(systemctl show -p MainPID --value pai-containerd.service 2>/dev/null || echo 0)
now=$(readlink -f "/proc/$pid/exe" 2>/dev/null || readlink -f /opt/pai/role/containerd/bin/containerd || :)
say container-runtime-version "$("$now" --version 2>/dev/null | awk '{print $3}')"
say next-container-runtime-version "$("$NEXT/bin/containerd" --version 2>/dev/null | awk '{print $3}')"
[ -z "$now" ] || say container-runtime-folder "${now%/bin/containerd}"
say container-runtime-kill-mode "$(systemctl show -p KillMode --value pai-containerd.service 2>/dev/null || :)"
`

// observeMachine fills in what the machine itself knows.
func (l LiveFacts) observeMachine(ctx context.Context, host machine.Host, step plan.Step, f *Facts) {
	script := "NEXT=" + machine.Quote(versionFolder(step)) + machineScript
	out, err := host.Run(ctx, machine.Command{Script: script})
	if err != nil {
		f.unknownMachine(fmt.Errorf("ask %s: %w", host.Name(), err))
		return
	}
	said := map[string]string{}
	for line := range strings.Lines(out.Stdout) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			said[key] = value
		}
	}
	f.Kubelet = change(said, "next-kubelet-version", "next-kubelet-version") // what runs is the API's to say
	f.KubeletRuns = one(said, "kubelet-state", func(v string) bool { return v == "active" })
	f.RuntimeUp = one(said, "container-runtime-state", func(v string) bool { return v == "yes" })
	f.Runtime = change(said, "container-runtime-version", "next-container-runtime-version")
	f.RuntimeKillMode = one(said, "container-runtime-kill-mode", func(v string) string { return v })
	if step.Role == plan.RoleRuntime {
		f.RuntimeCgroups = Observed(l.runtimeCgroups(ctx, host, step, said["container-runtime-folder"]))
	}
}

// runtimeCgroups reads the cgroup driver out of the configuration that the
// runtime was started with, and the one that the step would start it with.
func (l LiveFacts) runtimeCgroups(ctx context.Context, host machine.Host, step plan.Step, folder string) (Transition[string], error) {
	var c Transition[string]
	if folder == "" {
		return c, fmt.Errorf("%s did not say which container runtime runs", host.Name())
	}
	now, err := host.ReadFile(ctx, folder+runtimeConfigFile)
	if err != nil {
		return c, fmt.Errorf("read the configuration of the container runtime of %s: %w", host.Name(), err)
	}
	next, err := l.nextFile(ctx, host, step, runtimeConfigFile)
	if err != nil {
		return c, err
	}
	return Transition[string]{From: cgroupDriverOf(now), To: cgroupDriverOf(next)}, nil
}

// nextFile is a file of the step's version as the step would write it.
func (l LiveFacts) nextFile(ctx context.Context, host machine.Host, step plan.Step, name string) ([]byte, error) {
	path := versionFolder(step) + name
	if l.Files == nil {
		data, err := host.ReadFile(ctx, path)
		if err != nil {
			return nil, fmt.Errorf("read %s on %s: %w", path, host.Name(), err)
		}
		return data, nil
	}
	files, err := l.Files(ctx, step)
	if err != nil {
		return nil, fmt.Errorf("find out what the step would write on %s: %w", host.Name(), err)
	}
	text, found := files[path]
	if !found {
		return nil, fmt.Errorf("the step would not write %s on %s", path, host.Name())
	}
	return []byte(text), nil
}

// cgroupDriverOf reads it out of containerd's configuration, where it is the
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

// one is a fact of one thing the machine said.
func one[T any](said map[string]string, key string, read func(string) T) Fact[T] {
	if said[key] == "" {
		return Unknown[T](fmt.Errorf("the machine does not say its %s", key))
	}
	return Known(read(said[key]))
}

func change(said map[string]string, from, to string) Fact[Transition[string]] {
	for _, key := range []string{from, to} {
		if said[key] == "" {
			return Unknown[Transition[string]](fmt.Errorf("the machine does not say its %s", key))
		}
	}
	return Known(Transition[string]{From: said[from], To: said[to]})
}

// kubeletOnMachine is the version of the kubelet that a machine's role link
// names; empty where there is none.
func kubeletOnMachine(ctx context.Context, host machine.Host) (string, error) {
	out, err := host.Run(ctx, machine.Command{Script: "k=/opt/pai/role/kubelet/bin/kubelet; [ ! -x $k ] || $k --version"})
	if err != nil {
		return "", fmt.Errorf("ask %s for its kubelet's version: %w", host.Name(), err)
	}
	return strings.TrimPrefix(strings.TrimSpace(out.Stdout), "Kubernetes "), nil
}

// kubeletFile is the part of a KubeletConfiguration (kubelet.config.k8s.io/v1beta1)
// that the rules rest on.
type kubeletFile struct {
	CPUManagerPolicy       string            `json:"cpuManagerPolicy"`
	MemoryManagerPolicy    string            `json:"memoryManagerPolicy"`
	TopologyManagerPolicy  string            `json:"topologyManagerPolicy"`
	CgroupDriver           string            `json:"cgroupDriver"`
	KubeReserved           map[string]string `json:"kubeReserved"`
	SystemReserved         map[string]string `json:"systemReserved"`
	EvictionHard           map[string]string `json:"evictionHard"`
	ReservedSystemCPUs     string            `json:"reservedSystemCPUs"`
	MaxPods                int               `json:"maxPods"`
	EnforceNodeAllocatable []string          `json:"enforceNodeAllocatable"`
}

// kubeletConfigs reads what the running kubelet says it runs with (configz,
// through the API's proxy to the node) and what the step would start one with.
// Where no kubelet runs, there is only the next.
func (l LiveFacts) kubeletConfigs(ctx context.Context, core kubernetes.Interface, host machine.Host, step plan.Step, runs Fact[bool]) (Transition[KubeletConfig], error) {
	var c Transition[KubeletConfig]
	data, err := l.nextFile(ctx, host, step, kubeletConfigFile)
	if err != nil {
		return c, err
	}
	var next kubeletFile
	if err := yaml.Unmarshal(data, &next); err != nil {
		return c, fmt.Errorf("parse the kubelet's next configuration on %s: %w", host.Name(), err)
	}
	c.To = next.config()
	if runs.known && !runs.value {
		c.From = c.To
		return c, nil
	}
	raw, err := core.CoreV1().RESTClient().Get().Resource("nodes").Name(host.Name()).SubResource("proxy").Suffix("configz").DoRaw(ctx)
	if err != nil {
		return c, fmt.Errorf("ask the kubelet of %s for its configuration: %w", host.Name(), err)
	}
	var now struct {
		KubeletConfig *kubeletFile `json:"kubeletconfig"`
	}
	if err := json.Unmarshal(raw, &now); err != nil {
		return c, fmt.Errorf("parse the answer of the kubelet of %s: %w", host.Name(), err)
	}
	if now.KubeletConfig == nil {
		return c, fmt.Errorf("the kubelet of %s did not say its configuration", host.Name())
	}
	c.From = now.KubeletConfig.config()
	return c, nil
}

// The kubelet's own defaults where a file says nothing
// (k8s.io/kubernetes pkg/kubelet/apis/config/v1beta1/defaults.go).
const (
	defaultCgroupDriver = "cgroupfs"
	defaultMaxPods      = 110
)

func defaultEvictionHard() map[string]string {
	return map[string]string{"memory.available": "100Mi", "nodefs.available": "10%", "nodefs.inodesFree": "5%", "imagefs.available": "15%", "imagefs.inodesFree": "5%"}
}

// config says the same of a file that leaves defaults out and of a kubelet
// that has filled them in.
func (k kubeletFile) config() KubeletConfig {
	c := KubeletConfig{
		CPUManagerPolicy:      k.CPUManagerPolicy,
		MemoryManagerPolicy:   k.MemoryManagerPolicy,
		TopologyManagerPolicy: k.TopologyManagerPolicy,
		CgroupDriver:          k.CgroupDriver,
		Reserved:              map[string]string{},
	}
	if c.CgroupDriver == "" {
		c.CgroupDriver = defaultCgroupDriver
	}
	if k.MaxPods == 0 {
		k.MaxPods = defaultMaxPods
	}
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
	c.Reserved["maxPods"] = fmt.Sprint(k.MaxPods)
	enforce := slices.Sorted(slices.Values(k.EnforceNodeAllocatable))
	c.Reserved["enforceNodeAllocatable"] = strings.Join(enforce, ",")
	return c
}
