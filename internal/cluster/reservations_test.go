package cluster

import (
	"reflect"
	"testing"

	"k8s.io/apimachinery/pkg/api/resource"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/test/inspecttest"
)

func TestReservationsBySizeAndRole(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name         string
		role         string
		memoryMiB    int
		kube, system string
		cpu, pids    string
	}{
		{"small worker", config.RoleWorker, 2048, "128Mi", "128Mi", "50m", "1000"},
		{"worker", config.RoleWorker, 16384, "655Mi", "491Mi", "50m", "1000"},
		{"large worker", config.RoleWorker, 2 << 20, "1Gi", "1Gi", "50m", "1000"},
		{"small control plane", config.RoleControlPlane, 2048, "640Mi", "128Mi", "250m", "2000"},
		{"control plane", config.RoleControlPlane, 16384, "2293Mi", "491Mi", "250m", "2000"},
		{"large control plane", config.RoleControlPlane, 2 << 20, "9Gi", "1Gi", "250m", "2000"},
	} {
		got := reservationsOf(config.Machine{Role: c.role}, facts{MemoryMiB: c.memoryMiB})
		same := func(a, b string) bool { x, y := resource.MustParse(a), resource.MustParse(b); return x.Cmp(y) == 0 }
		if !same(got.Kube["memory"], c.kube) || !same(got.System["memory"], c.system) || got.Kube["cpu"] != c.cpu || got.Kube["pid"] != c.pids {
			t.Errorf("%s: got %+v, want %s, %s, %s, and %s", c.name, got, c.kube, c.system, c.cpu, c.pids)
		}
	}
}

// A fork bomb on a small machine with cgroup v1 ends in time; on others, frameworks
// can have all their threads.
func TestPodProcesses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		f    facts
		want int
	}{
		{facts{Cores: 2, CgroupV1: true}, 1024},
		{facts{Cores: 1, CgroupV1: true}, 1024},
		{facts{Cores: 8, CgroupV1: true}, 4096},
		{facts{Cores: 256, CgroupV1: true}, 8192},
		{facts{CgroupV1: true}, 8192},
		{facts{Cores: 2}, 8192},
	} {
		if got := podProcessesOf(c.f); got != c.want {
			t.Errorf("%+v: got %d, want %d", c.f, got, c.want)
		}
	}
}

// A kubelet that is replaced keeps the reservations of its machine, whatever the
// version: with less memory for pods it would end some that run.
func TestKubeletKeepsReservations(t *testing.T) {
	t.Parallel()
	m, f := config.Machine{Role: config.RoleWorker}, facts{MemoryMiB: 16384}
	full, other := reservationsOf(m, f), reservations{Kube: map[string]string{"memory": "1Gi"}}
	for _, c := range []struct {
		name     string
		file     string // of the kubelet that the machine has
		upstream string
		reserve  bool
		want     reservations
	}{
		{"first kubelet", "", "v1.37.2", false, full},
		{"first kubelet of an older version", "", "v1.36.3", false, reservations{}},
		{"kubelet without reservations", "kind: KubeletConfiguration\n", "v1.37.2", false, reservations{}},
		{"kubelet with others", "kubeReserved: {memory: 1Gi}\n", "v1.37.2", false, other},
		{"step of the reservations", "kind: KubeletConfiguration\n", "v1.37.2", true, full},
		{"rollback", "kubeReserved: {memory: 1Gi}\n", "v1.36.3", false, other},
		{"step of a version that sets none", "kubeReserved: {memory: 1Gi}\n", "v1.36.3", true, other},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := inspecttest.NewHost(t, "pai-2")
			if c.file != "" {
				h.Write(layout.RoleLink(plan.RoleKubelet)+"/etc/"+layout.KubeletConfigName, c.file)
			}
			got, err := nextReservations(t.Context(), h, m, f, c.upstream, c.reserve)
			if err != nil || !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %+v, %v, want %+v", got, err, c.want)
			}
		})
	}
	h := inspecttest.NewHost(t, "pai-2")
	h.Write(layout.RoleLink(plan.RoleKubelet)+"/etc/"+layout.KubeletConfigName, "kubeReserved: [1]\n")
	if _, err := nextReservations(t.Context(), h, m, f, "v1.37.2", true); err == nil {
		t.Error("got no error for a file that cannot be read")
	}
}
