package cluster

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/test/inspecttest"
)

// identityOf writes the kubeconfig of a kubelet that trusts an authority.
func identityOf(h *inspecttest.Host, authority string) {
	h.Write(layout.KubeletConf, fmt.Sprintf("apiVersion: v1\nkind: Config\nclusters:\n- name: c\n  cluster: {server: 'https://a:6443', certificate-authority-data: %s}\n",
		base64.StdEncoding.EncodeToString([]byte(authority))))
}

// runsContainer starts a made-up container of a pod.
func runsContainer(h *inspecttest.Host, id string, pid int, namespace, pod string) {
	h.Write("/proc/sys/kernel/random/boot_id", "boot\n")
	h.Programs["systemctl is-system-running"] = "running\n"
	dir := layout.ContainerdTasks + "/k8s.io/" + id
	h.Write(dir+"/init.pid", fmt.Sprint(pid))
	h.Write(dir+"/config.json", fmt.Sprintf(`{"annotations":{"io.kubernetes.cri.container-type":"container","io.kubernetes.cri.sandbox-name":%q,"io.kubernetes.cri.sandbox-namespace":%q}}`, pod, namespace))
	h.Write(fmt.Sprintf("/proc/%d/cgroup", pid), "0::/kubepods/"+id+"\n")
}

func TestOccupiedMachinesRunForAnotherCluster(t *testing.T) {
	t.Parallel()
	const job = pai.VirtualClusterNamespacePrefix + "default"
	living := func(h *inspecttest.Host) {
		runsContainer(h, "c1", 301, job, "train-worker-0-0-abc")
		runsContainer(h, "c2", 302, "kube-system", "coredns-1")
	}
	stopped := func(h *inspecttest.Host) {
		h.Units[layout.Unit(plan.RoleKubelet)] = inspecttest.Unit{State: "inactive"}
	}
	for _, c := range []struct {
		name   string
		ca     string // of the control-plane machine; empty if it has none
		change func(*inspecttest.Host)
		want   []string // empty for a machine that can be used
	}{
		{"the control plane was lost", "", func(h *inspecttest.Host) { identityOf(h, "old"); living(h) },
			[]string{"a kubelet v0.10-pai", "train-worker-0-0-abc", "1 other containers"}},
		{"the control plane was lost and kubelets do not run", "", func(h *inspecttest.Host) { identityOf(h, "old"); living(h); stopped(h) }, []string{"train-worker-0-0-abc"}},
		{"the control plane was lost and no pod runs", "", func(h *inspecttest.Host) { identityOf(h, "old") }, []string{"a kubelet"}},
		{"the identities were lost, too", "", living, []string{"train-worker-0-0-abc"}},
		{"another cluster", "new", func(h *inspecttest.Host) { identityOf(h, "old"); living(h) }, []string{"train-worker-0-0-abc"}},
		{"cleaned from another cluster", "new", func(h *inspecttest.Host) { identityOf(h, "old"); stopped(h) }, nil},
		{"this cluster", "new", func(h *inspecttest.Host) { identityOf(h, "new"); living(h) }, nil},
		{"joining again", "new", living, nil},
		{"nothing", "", stopped, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			all := scripted(t)
			control, h := inspecttest.NewHost(t, "pai-1"), all.hosts["pai-2"]
			if c.ca != "" {
				control.Write(layout.PKIDir+"/ca.crt", c.ca)
			}
			h.Programs["systemctl is-system-running"] = "running\n"
			c.change(h)
			got, err := Occupied(t.Context(), control, map[string]machine.Host{"pai-1": control, "pai-2": h}, []string{"pai-2", "unreachable"})
			if err != nil || len(got) != min(1, len(c.want)) {
				t.Fatalf("got %v, %v, want %q", got, err, c.want)
			}
			for _, want := range c.want {
				if got[0].Name != "pai-2" || !strings.Contains(got[0].Has, want) {
					t.Errorf("got %+v, want %q", got, want)
				}
			}
			if strings.Contains(strings.Join(all.hosts["pai-1"].Scripts, "\n"), "rm ") {
				t.Error("a look changed the machine")
			}
		})
	}
}

func TestOccupiedMachinesAreNotGuessed(t *testing.T) {
	t.Parallel()
	all := scripted(t)
	h := all.hosts["pai-2"]
	identityOf(h, "old")
	h.Write("/proc/1/comm", "containerd-shim-runc-v2\n") // containers run elsewhere
	if got, err := Occupied(t.Context(), inspecttest.NewHost(t, "pai-1"), map[string]machine.Host{"pai-2": h}, []string{"pai-2"}); err == nil {
		t.Errorf("got %v without an error, want that the containers are unknown", got)
	}
}

// A kubelet that joins a cluster ends each container that the cluster does not know.
func TestKubeletOfAnotherClusterDoesNotJoin(t *testing.T) {
	t.Parallel()
	c := scripted(t)
	h := c.hosts["pai-2"]
	identityOf(h, "another authority")
	runsContainer(h, "c1", 301, pai.VirtualClusterNamespacePrefix+"default", "train-worker-0-0-abc")
	cl := &cluster{Deps: c.deps}
	step := plan.Step{Kind: plan.KindKubelet, Target: "pai-2", To: pai.AnyVersion(comparedVersion)}
	err := cl.startKubelet(t.Context(), h, c.deps.Config.Layout.MachineList[1], step)
	if pai.CodeOf(err) != pai.CodeRefused || !strings.Contains(err.Error(), "train-worker-0-0-abc") {
		t.Errorf("got %v, want a refusal that names the pod", err)
	}
	if slices.ContainsFunc(h.Scripts, func(s string) bool { return strings.Contains(s, layout.KubeletPKIDir) && strings.Contains(s, "rm -rf") }) {
		t.Error("the identity of the other cluster was removed")
	}
}

func TestManyPodsAreCounted(t *testing.T) {
	t.Parallel()
	h := inspecttest.NewHost(t, "pai-2")
	for n := range 8 {
		runsContainer(h, fmt.Sprintf("c%d", n), 300+n, pai.VirtualClusterNamespacePrefix+"default", fmt.Sprintf("train-%d", n))
	}
	got, err := occupiedBy(t.Context(), h, nil)
	if err != nil || !strings.Contains(got, "train-4, and 3 more") {
		t.Errorf("got %q, %v, want five pods and a count", got, err)
	}
}
