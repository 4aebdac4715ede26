package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"

	"sigs.k8s.io/yaml"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/inspect/helper"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// podProcesses is how many processes and threads a pod can have. Data loaders and NCCL
// of a pod with eight GPUs use hundreds.
const podProcesses = 8192

// With cgroup v1, the kernel cannot end all processes of a container at once: each ends
// with the CPU of the task, and those of a fork bomb take minutes. Threads of frameworks
// grow with the cores of their machine.
const (
	podProcessesOfCore = 512
	leastPodProcesses  = 1024
)

// podProcessesOf is the limit on a machine. Pods that run keep theirs.
func podProcessesOf(f facts) int {
	if !f.CgroupV1 || f.Cores == 0 {
		return podProcesses
	}
	return min(max(f.Cores*podProcessesOfCore, leastPodProcesses), podProcesses)
}

// reservations are what a machine keeps from pods for its own programs, in the form of
// a kubelet configuration. The kubelet enforces them on the pods together, so that
// pods cannot use the memory and processes that ssh, the kubelet, and etcd need.
type reservations struct {
	Kube   map[string]string `json:"kubeReserved,omitempty"`
	System map[string]string `json:"systemReserved,omitempty"`
}

// reservationsOf are the reservations of a machine by its size and its role: for the
// kubelet, the container runtime with its shims, and the programs of PAI; on a
// control-plane machine also for etcd and two API servers, which run at the same time
// in an upgrade.
func reservationsOf(m config.Machine, f facts) reservations {
	kube := min(max(f.MemoryMiB*4/100, 128), 1024)
	system := min(max(f.MemoryMiB*3/100, 128), 1024)
	kubeCPU, processes := 50, 1000
	if m.IsControlPlane() {
		kube += min(max(f.MemoryMiB/10, 512), 8192)
		kubeCPU, processes = 250, 2000
	}
	return reservations{
		Kube:   map[string]string{"cpu": fmt.Sprintf("%dm", kubeCPU), "memory": fmt.Sprintf("%dMi", kube), "pid": fmt.Sprint(processes)},
		System: map[string]string{"cpu": "50m", "memory": fmt.Sprintf("%dMi", system), "pid": "1000"},
	}
}

func (r reservations) equal(other reservations) bool {
	return maps.Equal(r.Kube, other.Kube) && maps.Equal(r.System, other.System)
}

// keptReservations are those of the kubelet that a machine has. known is false on a
// machine without one.
func keptReservations(ctx context.Context, h machine.Host) (kept reservations, known bool, err error) {
	file := layout.RoleLink(plan.RoleKubelet) + "/etc/" + layout.KubeletConfigName
	data, err := h.ReadFile(ctx, file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return kept, false, nil
	case err != nil:
		return kept, false, fmt.Errorf("read the reservations of the kubelet on %q: %w", h.Name(), err)
	}
	if err := yaml.Unmarshal(data, &kept); err != nil {
		return kept, false, fmt.Errorf("read %s on %q: %w", file, h.Name(), err)
	}
	return kept, true, nil
}

// nextReservations are those that a kubelet gets. A kubelet that is replaced keeps
// what its machine has: with less memory for pods, the kubelet would end pods that run.
// Only a step of the reservations, or the first kubelet of a machine, sets them.
func nextReservations(ctx context.Context, h machine.Host, m config.Machine, f facts, upstream string, reserve bool) (reservations, error) {
	kept, known, err := keptReservations(ctx, h)
	if err != nil || known && (!reserve || !sinceV011(upstream)) {
		return kept, err
	}
	if !sinceV011(upstream) {
		return reservations{}, nil
	}
	return reservationsOf(m, f), nil
}

// waitingReservations reports whether the kubelet of a machine has other reservations
// than a version sets.
func (c *cluster) waitingReservations(ctx context.Context, h machine.Host, m config.Machine, v pai.KubernetesVersion) (bool, error) {
	i, err := c.content(ctx, h, v)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // what it sets is not known on this host
	}
	if err != nil || !sinceV011(i.Upstream) {
		return false, err
	}
	kept, known, err := keptReservations(ctx, h)
	if err != nil || !known {
		return false, err
	}
	f, err := c.facts(ctx, h)
	return err == nil && !kept.equal(reservationsOf(m, f)), err
}

// keepsReservations reports whether a step of the reservations has to leave a machine
// alone: a job runs there. A later operation has the step again.
func (c *cluster) keepsReservations(ctx context.Context, h machine.Host, s plan.Step) (bool, error) {
	if !s.Reserves() {
		return false, nil
	}
	report, err := helper.Parts(ctx, h, inspect.Containers)
	if err != nil {
		return false, err
	}
	for _, container := range report.Activity.Containers {
		if container.OfJob() {
			c.Progress("%s keeps its reservations, because a job runs there", h.Name())
			return true, nil
		}
	}
	return false, nil
}
