package cluster

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/golden"
	"pai.dev/pai/internal/inspect/helper"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

func testConfig() *config.Config {
	cfg := &config.Config{
		Layout: config.Layout{MachineList: []config.Machine{
			{Hostname: "pai-1", HostIP: "10.9.0.11", Role: config.RoleControlPlane},
			{Hostname: "pai-2", HostIP: "10.9.0.12", Role: config.RoleWorker},
		}},
		Kubernetes: config.Kubernetes{
			Version: "v0.10-pai", ServiceClusterIPRange: "10.96.0.0/16", PodClusterIPRange: "10.244.0.0/16",
			ClusterDNS: "10.96.0.10", APIServersPort: 6443, APIAddress: config.DefaultAPIAddress, ServiceNodePortRange: "9000-9999",
			TaskNetworks: []string{config.DefaultTaskNetwork}, TaskPorts: []string{"10.9.0.11:2049/tcp", "10.96.0.40:9000-9010/udp"},
		},
	}
	cfg.Services.Cluster.Common.ClusterID = "test"
	return cfg
}

// threeControlPlanes is testConfig with two more control-plane machines.
func threeControlPlanes() *config.Config {
	cfg := testConfig()
	cfg.Layout.MachineList = append(cfg.Layout.MachineList,
		config.Machine{Hostname: "pai-3", HostIP: "10.9.0.13", Role: config.RoleControlPlane},
		config.Machine{Hostname: "pai-4", HostIP: "10.9.0.14", Role: config.RoleControlPlane})
	return cfg
}

// versions are the Kubernetes versions whose kubeadm's answers are in testdata.
var versions = map[pai.KubernetesVersion]string{"v0.9-pai": "v1.35.4", "v0.10-pai": "v1.36.3", "v0.11-pai": "v1.37.2"}

func kubeadmSays(t *testing.T, upstream, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata/kubeadm", upstream, file))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestControlPlaneScripts(t *testing.T) {
	t.Parallel()
	cfg := testConfig()
	manifests := map[plan.Role]string{
		plan.RoleEtcdA: "etcd.yaml", plan.RoleEtcdB: "etcd.yaml",
		plan.RoleAPIServerA: "kube-apiserver.yaml", plan.RoleAPIServerB: "kube-apiserver.yaml",
		plan.RoleControllerManager: "kube-controller-manager.yaml", plan.RoleScheduler: "kube-scheduler.yaml",
	}
	for v, upstream := range versions {
		for role, manifest := range manifests {
			f, err := flagsOfManifest(kubeadmSays(t, upstream, manifest))
			if err != nil {
				t.Fatalf("%s: %v", manifest, err)
			}
			checkRendered(t, string(v)+"/"+string(role), componentScript(cfg, cfg.ControlPlane(), v, upstream, role, f))
			if minor := map[pai.KubernetesVersion]string{"v0.10-pai": "1.35", "v0.11-pai": "1.36"}[v]; minor != "" && role == plan.RoleAPIServerB {
				checkRendered(t, string(v)+"/"+string(role)+"-as-"+minor, componentScript(cfg, cfg.ControlPlane(), v, upstream, role, emulating(f, minor)))
			}
		}
	}
}

func TestKubeletConfig(t *testing.T) {
	t.Parallel()
	for v, upstream := range versions {
		data, err := kubeletConfig(testConfig(), testConfig().Workers()[0], kubeadmSays(t, upstream, "init-defaults.yaml"), facts{CgroupV1: true}, upstream, reservations{})
		if err != nil {
			t.Fatal(err)
		}
		checkRendered(t, string(v)+"/kubelet.yaml", string(data))
		checkRendered(t, string(v)+"/kubelet", kubeletScript(testConfig().Workers()[0], v))
	}
}

// removedFlags are flags that a program no longer has from a version of Kubernetes, or
// of etcd, on. The program does not start with one.
var removedFlags = map[string][]string{
	// Kubernetes 1.37 (cmd/kubelet/app/options/globalflags_linux.go of both)
	"kubelet": {"application_metrics_count_limit", "boot_id_file", "container_hints", "containerd", "enable_load_reader", "event_storage_age_limit",
		"event_storage_event_limit", "global_housekeeping_interval", "log_cadvisor_usage", "machine_id_file", "storage_driver_user", "storage_driver_password",
		"storage_driver_host", "storage_driver_db", "storage_driver_table", "storage_driver_secure", "storage_driver_buffer_duration", "containerd-namespace"},
	// etcd 3.7
	"etcd-a": {"experimental-", "discovery", "discovery-proxy"},
}

func TestNoRemovedFlags(t *testing.T) {
	t.Parallel()
	for name, removed := range removedFlags {
		text, err := os.ReadFile(filepath.Join("testdata/golden/v0.11-pai", name))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range removed {
			if strings.Contains(strings.ReplaceAll(string(text), "_", "-"), "--"+strings.ReplaceAll(f, "_", "-")) {
				t.Errorf("%s is started with --%s", name, f)
			}
		}
	}
}

func TestNodeFiles(t *testing.T) {
	t.Parallel()
	cfg := testConfig()
	worker := cfg.Workers()[0]
	for name, render := range map[string]func() (map[string]preparedFile, error){
		"kube-proxy":          func() (map[string]preparedFile, error) { return kubeProxyFiles(cfg, worker, "v0.10-pai") },
		"network":             func() (map[string]preparedFile, error) { return networkFiles(cfg, worker, "v0.10-pai", "v1.36.3") },
		"network-since-v0.11": func() (map[string]preparedFile, error) { return networkFiles(cfg, worker, "v0.11-pai", "v1.37.2") },
		"prepare":             func() (map[string]preparedFile, error) { return preparedFiles(cfg) },
		"units-hardened": func() (map[string]preparedFile, error) {
			units := map[string]preparedFile{}
			for _, o := range unitTable {
				units[layout.UnitFile(o.role)] = preparedFile{unitFile(o.hardened()), 0o644}
			}
			return units, nil
		},
		"units": func() (map[string]preparedFile, error) { return roleUnits(cfg.ControlPlane()), nil },
	} {
		files, err := render()
		if err != nil {
			t.Fatal(err)
		}
		all := ""
		for _, path := range sortedKeys(files) {
			all += "==> " + path + " " + files[path].mode.String() + "\n" + files[path].content + "\n"
		}
		// The path of the helper has its digest.
		checkRendered(t, name, strings.ReplaceAll(all, layout.Helper(helper.Digest()), layout.HelperDir+"/DIGEST/pai-machine"))
	}
}

func TestContainerdConfig(t *testing.T) {
	t.Parallel()
	for v, i := range map[pai.KubernetesVersion]installed{
		"v0.10-pai": {Programs: map[string]string{"containerd": "v2.2.3"}, Images: map[string]string{imagePause: "pai.local/pause:v1"}},
		"v0.11-pai": {Programs: map[string]string{"containerd": "v2.3.7"}, Images: map[string]string{imagePause: "pai.local/pause:v2"}},
	} {
		for name, f := range map[string]facts{
			"containerd-local.toml":  {CgroupV1: true, OOMRestricted: true},
			"containerd-server.toml": {},
		} {
			toml, err := containerdConfig(v, i, f)
			if err != nil {
				t.Fatal(err)
			}
			checkRendered(t, string(v)+"/"+name, toml)
		}
	}
}

func TestKubeadmConfig(t *testing.T) {
	t.Parallel()
	data, err := kubeadmConfig(testConfig(), testConfig().ControlPlane(), "v1.36.3")
	if err != nil {
		t.Fatal(err)
	}
	checkRendered(t, "kubeadm.yaml", string(data))
}

func TestCNIConflist(t *testing.T) {
	t.Parallel()
	conflist, err := cniConflist("10.244.3.0/24")
	if err != nil {
		t.Fatal(err)
	}
	checkRendered(t, "10-pai.conflist", conflist)
}

func TestProxyConfig(t *testing.T) {
	t.Parallel()
	cfg, three := testConfig(), threeControlPlanes()
	for name, c := range map[string]proxyConfig{
		"three/api-proxy-control-plane.json": proxyConfigFor(three, three.ControlPlanes()[1], nil),
		"three/api-proxy-draining.json":      proxyConfigFor(three, three.ControlPlane(), &layout.SlotA),
		"three/api-proxy-worker.json":        proxyConfigFor(three, three.Workers()[0], nil),

		"api-proxy-control-plane.json": proxyConfigFor(cfg, cfg.ControlPlane(), nil),
		"api-proxy-draining.json":      proxyConfigFor(cfg, cfg.ControlPlane(), &layout.SlotA),
		"api-proxy-worker.json":        proxyConfigFor(cfg, cfg.Workers()[0], nil),
	} {
		data, err := json.MarshalIndent(c, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		checkRendered(t, name, string(data)+"\n")
	}
}

func TestClusterObjects(t *testing.T) {
	t.Parallel()
	c := &cluster{Deps: Deps{Config: testConfig()}}
	const image = "pai.local/coredns:v1.14.3"
	for name, o := range map[string]dnsOptions{
		"coredns.yaml":             {image: image},
		"coredns-forward.yaml":     {image: image, forward: true},
		"coredns-maintenance.yaml": {image: image, avoidsMaintenance: true},
	} {
		objects, err := c.renderDNS(o)
		if err != nil {
			t.Fatal(err)
		}
		all := make([]any, len(objects))
		for i, o := range objects {
			all[i] = o.Object
		}
		data, err := documents(all...)
		if err != nil {
			t.Fatal(err)
		}
		checkRendered(t, name, string(data))
	}
	bootstrap, err := renderManifest("manifests/bootstrap.yaml", bootstrapValues([]string{"pai-1", "pai-2"}))
	if err != nil {
		t.Fatal(err)
	}
	var all []any
	for _, o := range append(bootstrap, apiEndpoints("10.9.0.11", 6443)...) {
		all = append(all, o.Object)
	}
	data, err := documents(all...)
	if err != nil {
		t.Fatal(err)
	}
	checkRendered(t, "bootstrap.yaml", string(data))
}

// checkRendered compares what was rendered with testdata/golden/<name>.
func checkRendered(t *testing.T, name, got string) {
	t.Helper()
	golden.Check(t, filepath.Join("testdata/golden", name), got)
}
