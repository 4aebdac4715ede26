package observe

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/etcd"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/release"
	"pai.dev/pai/test/runtest"
	"pai.dev/pai/test/sessiontest"
)

func twoMachines(release pai.Release) *config.Config {
	c := &config.Config{}
	c.Layout.MachineList = []config.Machine{
		{Hostname: "cp-01", HostIP: "10.0.0.1", Role: config.RoleControlPlane},
		{Hostname: "gpu-01", HostIP: "10.0.0.2", Role: config.RoleWorker},
	}
	c.Services.Cluster.Common.Release = release
	return c
}

func node(name, address, kubelet string, ready corev1.ConditionStatus) corev1.Node {
	n := corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
	n.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeHostName, Address: name}, {Type: corev1.NodeInternalIP, Address: address}}
	n.Status.NodeInfo.KubeletVersion = kubelet
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: ready}}
	return n
}

func TestNodesWithoutMachineAreUnconfigured(t *testing.T) {
	t.Parallel()
	w := plan.World{Machines: []plan.MachineState{{Name: "cp-01"}, {Name: "gpu-01"}}}
	addNodes(&w, []corev1.Node{node("gpu-01", "10.0.0.2", "v1.35.4", corev1.ConditionTrue), node("gpu-09", "10.0.0.9", "v1.34.1", corev1.ConditionUnknown)})
	if want := []plan.UnconfiguredNode{{Name: "gpu-09", Address: "10.0.0.9", Kubelet: "v1.34.1"}}; !reflect.DeepEqual(w.Unconfigured.Nodes, want) {
		t.Errorf("got %+v, want %+v", w.Unconfigured.Nodes, want)
	}
	if w.Machines[0].Node != nil || w.Machines[1].Node == nil {
		t.Errorf("got %+v, want a node of gpu-01 only", w.Machines)
	}
	addNodes(&w, nil)
	if w.Unconfigured.Nodes == nil || len(w.Unconfigured.Nodes) > 0 {
		t.Errorf("got %#v for no nodes, want an empty list, which is known", w.Unconfigured.Nodes)
	}
}

func TestMachinesOfHostsFile(t *testing.T) {
	t.Parallel()
	const hosts = `127.0.0.1 localhost
127.0.0.1 api.pai.internal # pai
10.0.0.1 cp-01 # pai
10.0.0.2 gpu-01 # pai
10.0.0.9 gpu-09 # pai
10.0.0.8 other
# gpu-10 was here # pai
10.0.0.7 two names # pai
`
	want := []plan.UnconfiguredMachine{{Name: "gpu-09", Address: "10.0.0.9"}}
	if got := unconfiguredMachines(hosts, twoMachines("v0.9").Layout.MachineList); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := unconfiguredMachines("", nil); got == nil {
		t.Error("an empty file is unknown, want none")
	}
}

func TestMembersOutsideTheSlots(t *testing.T) {
	t.Parallel()
	list := append(twoMachines("v0.9").Layout.MachineList, config.Machine{Hostname: "cp-02", HostIP: "10.0.0.3", Role: config.RoleControlPlane})
	for _, c := range []struct {
		name   string
		member etcd.Member
		shown  bool
	}{
		{"slot a", etcd.Member{Name: "cp-01-a", Peers: []string{"https://10.0.0.1:2380"}}, false},
		{"slot b", etcd.Member{Name: "cp-01-b", Peers: []string{"https://10.0.0.1:2390"}, Learner: true}, false},
		{"slot b, never started", etcd.Member{Peers: []string{"https://10.0.0.1:2390"}, Learner: true}, false},
		{"of the second control plane", etcd.Member{Name: "cp-02-a", Peers: []string{"https://10.0.0.3:2380"}}, false},
		{"the slot of a worker", etcd.Member{Name: "gpu-01-a", Peers: []string{"https://10.0.0.2:2380"}}, true},
		{"another name in the slot", etcd.Member{Name: "stranger", Peers: []string{"https://10.0.0.1:2390"}}, true},
		{"the name of the other slot", etcd.Member{Name: "cp-01-a", Peers: []string{"https://10.0.0.1:2390"}}, true},
		{"the name at another address", etcd.Member{Name: "cp-01-a", Peers: []string{"https://10.0.0.9:2380"}}, true},
		{"a second address", etcd.Member{Name: "cp-01-a", Peers: []string{"https://10.0.0.1:2380", "https://10.0.0.9:2380"}}, true},
		{"no address", etcd.Member{}, true},
	} {
		c.member.ID = 0x8e9e05c52164694d
		got := unconfiguredMembers(etcd.Members{c.member}, list)
		if got == nil || (len(got) == 1) != c.shown {
			t.Errorf("%s: got %+v, want it listed: %t", c.name, got, c.shown)
		}
		if len(got) == 1 && (got[0].ID != "8e9e05c52164694d" || got[0].Started != (c.member.Name != "")) {
			t.Errorf("%s: got %+v", c.name, got[0])
		}
	}
}

func TestServicesOfNoConfiguredRelease(t *testing.T) {
	t.Parallel()
	row := func(name string, services ...string) release.Manifest {
		m := release.Manifest{Metadata: release.Metadata{Name: pai.Release(name)}}
		m.Services.Version, m.Kubernetes.Version = pai.ServicesVersion(name), pai.KubernetesVersion(name+"-pai")
		for _, s := range services {
			m.ServiceList = append(m.ServiceList, release.ServicePin{Name: s})
		}
		return m
	}
	patched := row("v0.10.1", "kueue", "prometheus")
	patched.Services.Version = "v0.10" // the same services, with another Kubernetes
	frozen := row("v0.8")              // its bundle is not on this host
	frozen.Commit = "c82e023"
	known := []release.Manifest{frozen, row("v0.9", "kueue", "exporter"), row("v0.10", "kueue", "prometheus"), patched}
	for _, c := range []struct {
		name                 string
		configured           pai.Release
		recorded             pai.ServicesVersion
		installed            map[string]pai.ServicesVersion
		want                 []string
		unknownConfiguration bool
	}{
		{"all of the release", "v0.9", "v0.9", map[string]pai.ServicesVersion{"kueue": "v0.9", "exporter": "v0.9"}, nil, false},
		{"a stranger", "v0.9", "v0.9", map[string]pai.ServicesVersion{"kueue": "v0.9", "stranger": "v0.9"}, []string{"stranger"}, false},
		{"a stranger without a release", "v0.9", "v0.9", map[string]pai.ServicesVersion{"stranger": ""}, []string{"stranger"}, false},
		{"during an upgrade, with the old configuration", "v0.9", "v0.9", map[string]pai.ServicesVersion{"kueue": "v0.10", "exporter": "v0.9", "prometheus": "v0.10"}, nil, false},
		{"during an upgrade, with the new configuration", "v0.10", "v0.9", map[string]pai.ServicesVersion{"kueue": "v0.10", "exporter": "v0.9"}, nil, false},
		{"after an upgrade, left from before", "v0.10", "v0.10", map[string]pai.ServicesVersion{"kueue": "v0.10", "exporter": "v0.9"}, []string{"exporter"}, false},
		{"of an unknown newer release", "v0.10", "v0.10", map[string]pai.ServicesVersion{"kueue": "v0.11", "tracing": "v0.11"}, []string{"tracing"}, false},
		{"two, in order", "v0.9", "", map[string]pai.ServicesVersion{"z": "v0.9", "a": "v0.9"}, []string{"a", "z"}, false},
		{"a release with the services of another", "v0.10.1", "v0.10", map[string]pai.ServicesVersion{"prometheus": "v0.10", "stranger": "v0.10"}, []string{"stranger"}, false},
		{"the services of the configured release are unknown", "v0.8", "v0.8", map[string]pai.ServicesVersion{"kueue": "v0.8"}, nil, true},
		{"the services of the deployed release are unknown", "v0.9", "v0.8", map[string]pai.ServicesVersion{"kueue": "v0.9", "stranger": "v0.8"}, nil, true},
		{"the services of the deployed release are unknown and do not matter", "v0.9", "v0.8", map[string]pai.ServicesVersion{"kueue": "v0.8"}, nil, false},
		{"the configuration names an unknown release", "v0.12", "v0.9", map[string]pai.ServicesVersion{"stranger": "v0.9"}, nil, true},
	} {
		w := plan.World{RecordedServices: c.recorded, Services: map[string]plan.Installed{}}
		for name, release := range c.installed {
			w.Services[name] = plan.Installed{Release: release}
		}
		got := unconfiguredServices(Source{Config: twoMachines(c.configured), Releases: known}, w)
		var names []string
		for _, s := range got {
			names = append(names, s.Name)
		}
		if !slices.Equal(names, c.want) || (got == nil) != c.unknownConfiguration {
			t.Errorf("%s: got %v (unknown %t), want %v", c.name, names, got == nil, c.want)
		}
	}
}

func TestVolumesOfServicesAreNoForeignFiles(t *testing.T) {
	t.Parallel()
	known := []release.Manifest{{ServiceList: []release.ServicePin{{Name: "prometheus"}}}}
	got := withoutVolumes([]string{"/etc/pai/prometheus", "/var/lib/pai/prometheus", "/var/lib/pai/stranger"}, known)
	if want := []string{"/etc/pai/prometheus", "/var/lib/pai/stranger"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if withoutVolumes(nil, known) != nil || withoutVolumes([]string{}, known) == nil {
		t.Error("an unknown list must stay unknown, and an empty one known")
	}
}

// What cannot be observed is unknown, with the reason, and never none.
func TestUnobservedIsUnknown(t *testing.T) {
	t.Parallel()
	errAPI := errors.New("connection refused")
	src := Source{Config: twoMachines("v0.9"), Kube: func(context.Context) (*kube.Client, error) { return nil, errAPI }}
	observe := func() plan.World {
		t.Helper()
		w, err := World(t.Context(), src)
		if err != nil {
			t.Fatal(err)
		}
		w.Current.Kubernetes = "v0.9-pai"
		return w
	}
	if u := observe().UnknownUnconfigured(); len(u) != 4 {
		t.Errorf("without a machine, got unknown %q, want all four", u)
	}
	files := runtest.Dir(t.TempDir())
	src.Hosts = map[string]machine.Host{"cp-01": &sessiontest.Host{Hostname: "cp-01", Files: files}}
	w := observe()
	if w.Unconfigured.Machines != nil || w.Unconfigured.MachinesError == "" {
		t.Errorf("with an unreadable file, got %+v", w.Unconfigured)
	}
	if err := os.MkdirAll(filepath.Join(string(files), "etc"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(string(files), "etc/hosts"), []byte("10.0.0.9 gpu-09 # pai\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w = observe()
	if w.Unconfigured.EtcdMembers == nil || w.Unconfigured.EtcdError != "" {
		t.Errorf("before the first boot, got %+v, want no etcd member", w.Unconfigured)
	}
	if err := files.WriteFile(t.Context(), layout.ClusterRecordFile, []byte(`{"clusterId":"lab","kubernetes":"v0.9-pai"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	w = observe()
	if w.Unconfigured.EtcdMembers != nil || w.Unconfigured.EtcdError == "" {
		t.Errorf("with an etcd that cannot be asked, got %+v, want unknown members", w.Unconfigured)
	}
	if len(w.Unconfigured.Machines) != 1 || w.Unconfigured.Nodes != nil || w.Unconfigured.Services != nil {
		t.Errorf("during an API outage, got %+v, want one machine and the rest unknown", w.Unconfigured)
	}
}
