package inspect_test

import (
	"reflect"
	"strings"
	"testing"

	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/test/inspecttest"
)

func strangersOf(t *testing.T, r *inspecttest.Root) inspect.Strangers {
	t.Helper()
	report := r.Machine().Inspect(t.Context(), inspect.Request{Parts: []inspect.Part{inspect.ConditionOf}}, "p")
	if report.Condition == nil || report.Condition.Strangers == nil {
		t.Fatalf("got no strangers: %v", report.Problems)
	}
	return *report.Condition.Strangers
}

func TestStrangersOfACleanMachine(t *testing.T) {
	t.Parallel()
	r := booted(t)
	r.Write(layout.CNIConfig, "{}")
	r.Write(layout.PKIMark, "PAI made them")
	r.Write("/etc/cni/net.d/87-podman.conflist", "{}")
	r.Write("/etc/cni/net.d/00-readme.txt", "")
	r.Link("/proc/700/exe", "/opt/pai/v0.10-pai/bin/containerd")
	r.Write("/proc/700/cgroup", "0::/system.slice\n")
	r.Programs["nft list chains"] = "table ip filter {\n\tchain FORWARD {\n\t\ttype filter hook forward priority filter; policy accept;\n\t}\n}\ntable inet pai-jobs {\n\tchain forward {\n\t\ttype filter hook forward priority filter; policy drop;\n\t}\n}\n"
	r.Programs["nft list table ip filter"] = "table ip filter {\n\tchain FORWARD {\n\t\ttype filter hook forward priority filter; policy accept;\n\t\tcounter packets 1 bytes 2 jump X\n\t}\n}\n"
	if got := strangersOf(t, r); !reflect.DeepEqual(got, inspect.Strangers{}) {
		t.Errorf("got %+v, want none", got)
	}
}

func TestStrangersFindsFilesOfAnotherNetwork(t *testing.T) {
	t.Parallel()
	r := booted(t)
	for _, name := range []string{"10-calico.conflist", "05-cilium.conf", "10-flannel.json", "99-loopback.conf", "10-pai.conflist"} {
		r.Write("/etc/cni/net.d/"+name, "{}")
	}
	got := strings.Join(strangersOf(t, r).CNI, " ")
	if want := "/etc/cni/net.d/05-cilium.conf /etc/cni/net.d/10-calico.conflist /etc/cni/net.d/10-flannel.json"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestStrangersFindsOtherRuntimes(t *testing.T) {
	t.Parallel()
	const (
		docker = "[Unit]\nWants=network-online.target containerd.service\n[Service]\nExecStart=/usr/bin/dockerd -H fd://\n"
		unit   = "[Service]\nExecStart=/usr/bin/containerd\n"
	)
	enable := func(name string) func(*inspecttest.Root) {
		return func(r *inspecttest.Root) {
			r.Link(layout.UnitsDir+"/multi-user.target.wants/"+name, "/lib/systemd/system/"+name)
		}
	}
	for _, test := range []struct {
		name  string
		files map[string]string
		with  func(*inspecttest.Root)
		want  []inspect.OtherRuntime
	}{
		{"not enabled", map[string]string{"/lib/systemd/system/containerd.service": unit}, enable("cron.service"), nil},
		{"enabled", map[string]string{"/lib/systemd/system/containerd.service": unit}, enable("containerd.service"), []inspect.OtherRuntime{{Program: "containerd.service"}}},
		{"wanted by Docker", map[string]string{"/usr/lib/systemd/system/containerd.service": unit, "/usr/lib/systemd/system/docker.service": docker}, enable("docker.socket"),
			[]inspect.OtherRuntime{{Program: "containerd.service"}}},
		{"other directories", map[string]string{"/lib/systemd/system/containerd.service": unit,
			"/etc/containerd/config.toml": "version = 2\nroot = \"/data/containerd\"\nstate = \"/run/other\"\n[grpc]\n"}, enable("containerd.service"), nil},
		{"directories of a plugin", map[string]string{"/lib/systemd/system/containerd.service": unit,
			"/etc/containerd/config.toml": "[plugins]\n root = \"/data/containerd\"\n state = \"/run/other\"\n"}, enable("containerd.service"), []inspect.OtherRuntime{{Program: "containerd.service"}}},
		{"its own configuration", map[string]string{layout.UnitsDir + "/k.service": "[Service]\nExecStart=/usr/local/bin/containerd --config /k.toml\n",
			"/k.toml": "root = '/k'\nstate = '/run/k'\n"}, enable("k.service"), nil},
		{"that of PAI", map[string]string{layout.UnitsDir + "/pai-containerd.service": "[Service]\nExecStart=/opt/pai/role/containerd/run/containerd\n"}, enable("pai-containerd.service"), nil},
		{"running", nil, func(r *inspecttest.Root) {
			r.Link("/proc/800/exe", "/usr/bin/containerd")
			r.Write("/proc/800/cgroup", "0::/system.slice/containerd.service\n")
			r.Link("/proc/800/fd/4", "/var/lib/containerd/io.containerd.metadata.v1.bolt/meta.db")
		}, []inspect.OtherRuntime{{Program: "/usr/bin/containerd", Running: true}}},
		{"running at the socket", map[string]string{"/proc/net/unix": "Num RefCount Protocol Flags Type St Inode Path\n0: 00000002 00000000 00010000 0001 01 901 /run/containerd/containerd.sock\n"}, func(r *inspecttest.Root) {
			r.Link("/proc/800/exe", "/usr/bin/containerd (deleted)")
			r.Write("/proc/800/cgroup", "0::/system.slice/containerd.service\n")
			r.Link("/proc/800/fd/4", "socket:[901]")
		}, []inspect.OtherRuntime{{Program: "/usr/bin/containerd (deleted)", Running: true}}},
		{"running elsewhere, or in a pod", nil, func(r *inspecttest.Root) {
			r.Link("/proc/800/exe", "/usr/bin/containerd")
			r.Write("/proc/800/cgroup", "0::/system.slice/docker.service\n")
			r.Link("/proc/800/fd/4", "/var/lib/docker/containerd/meta.db")
			r.Link("/proc/801/exe", "/usr/bin/containerd")
			r.Write("/proc/801/cgroup", "0::/kubepods/pod1/c1\n")
			r.Link("/proc/801/fd/4", "/var/lib/containerd/meta.db")
		}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := booted(t)
			for path, text := range test.files {
				r.Write(path, text)
			}
			test.with(r)
			if got := strangersOf(t, r).Runtimes; !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func TestStrangersFindsDroppedPackets(t *testing.T) {
	t.Parallel()
	r := booted(t)
	r.Programs["nft list chains"] = `table ip filter {
	chain INPUT {
		type filter hook input priority filter; policy drop;
	}
	chain FORWARD {
		type filter hook forward priority filter; policy drop;
	}
}
table inet firewalld {
	chain filter_FORWARD {
		type filter hook forward priority filter + 10; policy accept;
	}
}
`
	const docker = "table ip filter {\n\tchain DOCKER {\n\t}\n\n\tchain FORWARD {\n\t\ttype filter hook forward priority filter; policy drop;\n\t}\n}\n"
	const firewalld = "table inet firewalld {\n\tchain filter_FORWARD {\n\t\ttype filter hook forward priority filter + 10; policy accept;\n\t\tct state invalid drop\n\t\treject with icmpx admin-prohibited\n\t}\n}\n"
	r.Programs["nft list table ip filter"], r.Programs["nft list table inet firewalld"] = docker, firewalld
	want := []inspect.ForwardChain{{Table: "ip filter", Chain: "FORWARD", Rules: docker}, {Table: "inet firewalld", Chain: "filter_FORWARD", Rules: firewalld}}
	if got := strangersOf(t, r).Forward; !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// Some drivers print a sentence and end with code 0.
func TestGPUsAreNotSentences(t *testing.T) {
	t.Parallel()
	for out, want := range map[string][]string{
		"GPU-1b2c-0f, Tesla K80\nGPU-1b2d-0e, Tesla K80\n":                       {"Tesla K80", "Tesla K80"},
		"No devices were found\n":                                                {"nvidia-2330"},
		"Failed to initialize NVML: Driver/library version mismatch\n":           {"nvidia-2330"},
		"GPU-1b2c, H100\nUnable to determine the device handle for GPU0000:41\n": {"nvidia-2330"},
		"": {"nvidia-2330"},
	} {
		r := booted(t)
		r.Write("/sys/bus/pci/devices/0000:41:00.0/vendor", "0x10de\n")
		r.Write("/sys/bus/pci/devices/0000:41:00.0/device", "0x2330\n")
		r.Write("/sys/bus/pci/devices/0000:41:00.0/class", "0x030200\n")
		r.Programs["nvidia-smi --query-gpu=uuid,name --format=csv,noheader"] = out
		report := r.Machine().Inspect(t.Context(), inspect.Request{Parts: []inspect.Part{inspect.HardwareOf}}, "p")
		if report.Hardware == nil {
			t.Fatal(report.Problems)
		}
		problem := report.ProblemOf(inspect.HardwareOf, "gpus")
		if !reflect.DeepEqual(report.Hardware.GPUs, want) || (problem != nil) != (len(want) == 1 && out != "") {
			t.Errorf("%q: got %q, %v, want %q", out, report.Hardware.GPUs, problem, want)
		}
	}
}

func TestStrangersFindsOtherKubelets(t *testing.T) {
	t.Parallel()
	for start, found := range map[string]bool{
		"/usr/bin/kubelet":                            true,
		"-/usr/local/bin/k3s \\\n    server":          true,
		"/usr/local/bin/k0s worker --token-file=/t":   true,
		"/usr/bin/snap run microk8s.daemon-kubelite":  true,
		"/usr/bin/snap run microk8sx":                 false,
		"/usr/bin/kubelet-exporter":                   false,
		"/opt/pai/role/kubelet/run/node-agent --join": false,
	} {
		r := booted(t)
		r.Write("/usr/lib/systemd/system/some.service", "[Unit]\nDescription=/usr/bin/kubelet\n[Service]\nExecStart="+start+"\n")
		if got := strangersOf(t, r).Kubelets; len(got) != 0 {
			t.Errorf("%s: got %q, but nothing starts the unit", start, got)
		}
		r.Link(layout.UnitsDir+"/multi-user.target.wants/some.service", "/usr/lib/systemd/system/some.service")
		if got := strangersOf(t, r).Kubelets; found != (len(got) == 1 && got[0] == "some.service") {
			t.Errorf("%s: got %q, want found %t", start, got, found)
		}
	}
	r := booted(t)
	r.Write(layout.UnitsDir+"/pai-kubelet.service", "[Service]\nExecStart=/opt/pai/role/kubelet/run/kubelet\n")
	r.Link(layout.UnitsDir+"/multi-user.target.wants/pai-kubelet.service", "/etc/systemd/system/pai-kubelet.service")
	if got := strangersOf(t, r).Kubelets; len(got) != 0 {
		t.Errorf("that of PAI counts as another one: %q", got)
	}
}
