package cluster

import (
	"context"
	"fmt"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// Files are the files that a step would write into its version's folder on its
// machine, by path. It changes nothing that runs, so that what a step would
// run can be compared with what runs.
func Files(ctx context.Context, d Deps, s plan.Step) (map[string]string, error) {
	c := &cluster{Deps: d}
	h, m, err := c.target(s)
	if err != nil {
		return nil, err
	}
	role := s.Role
	if s.Kind == plan.KindKubelet {
		role = plan.RoleKubelet
	}
	if role == "" {
		return nil, nil // a step that moves no role
	}
	files, err := c.roleFiles(ctx, h, m, s.To.Kubernetes(), role, s.Emulate)
	if err != nil {
		return nil, fmt.Errorf("render %s of Kubernetes %s for %q: %w", role, s.To, m.Hostname, err)
	}
	contents := map[string]string{}
	for path, f := range files {
		contents[path] = f.content
	}
	return contents, nil
}

// renderRole writes what a role of one version runs on a machine: its script,
// and its configuration where it has any. It changes nothing that runs.
func (c *cluster) renderRole(ctx context.Context, h machine.Host, m config.Machine, v pai.KubernetesVersion, r plan.Role) error {
	return c.renderRoleAs(ctx, h, m, v, r, "")
}

// renderRoleAs is renderRole for a program that behaves as an older minor.
func (c *cluster) renderRoleAs(ctx context.Context, h machine.Host, m config.Machine, v pai.KubernetesVersion, r plan.Role, emulate string) error {
	files, err := c.roleFiles(ctx, h, m, v, r, emulate)
	if err != nil {
		return fmt.Errorf("render %s of Kubernetes %s for %q: %w", r, v, m.Hostname, err)
	}
	if err := writeFiles(ctx, h, files, sortedKeys(files)); err != nil {
		return fmt.Errorf("write %s of Kubernetes %s on %q: %w", r, v, m.Hostname, err)
	}
	return nil
}

func (c *cluster) roleFiles(ctx context.Context, h machine.Host, m config.Machine, v pai.KubernetesVersion, r plan.Role, emulate string) (map[string]preparedFile, error) {
	switch r {
	case plan.RoleRuntime:
		return c.runtimeFiles(ctx, h, v)
	case plan.RoleKubelet:
		return c.kubeletFiles(ctx, h, m, v)
	case plan.RoleAPIProxy:
		return map[string]preparedFile{
			runScript(v, r): {script(v, r, "api-proxy", flags{"--config=" + apiProxyFile}), 0o755},
		}, nil
	case plan.RoleKubeProxy:
		return kubeProxyFiles(c.Config, m, v)
	case plan.RoleNetwork:
		return networkFiles(c.Config, m, v)
	}
	f, err := c.componentFlags(ctx, h, v, r)
	if err != nil {
		return nil, err
	}
	return map[string]preparedFile{runScript(v, r): {componentScript(c.Config, m, v, r, emulating(f, emulate)), 0o755}}, nil
}

// componentScript is the script of a control-plane component, from kubeadm's
// flags and what PAI does differently.
func componentScript(cfg *config.Config, m config.Machine, v pai.KubernetesVersion, r plan.Role, f flags) string {
	switch r {
	case plan.RoleEtcdA, plan.RoleEtcdB:
		return etcdScript(m, v, r, f)
	case plan.RoleAPIServerA, plan.RoleAPIServerB:
		return apiServerScript(cfg, m, v, r, f)
	case plan.RoleControllerManager:
		return script(v, r, "kube-controller-manager", soleLeader(f))
	case plan.RoleScheduler:
		return script(v, r, "kube-scheduler", soleLeader(f))
	default:
		panic(fmt.Sprintf("%s is no control-plane component", r)) // a role that the callers do not have
	}
}

// soleLeader is for one control-plane machine: an election there only makes
// the next one wait until the lease of the last has run out.
func soleLeader(f flags) flags { return f.set("leader-elect", "false").set("profiling", "false") }

// slot is one of the two places that etcd and the API server have on a machine.
type slot struct {
	name                    string // "a" or "b"
	etcd, apiServer         plan.Role
	clientPort, peerPort    int // etcd's
	metricsPort, securePort int // etcd's, the API server's
}

var (
	slotA = slot{"a", plan.RoleEtcdA, plan.RoleAPIServerA, 2379, 2380, 2381, 6444}
	slotB = slot{"b", plan.RoleEtcdB, plan.RoleAPIServerB, 2389, 2390, 2391, 6445}
	slots = []slot{slotA, slotB}
)

func (s slot) other() slot {
	if s == slotA {
		return slotB
	}
	return slotA
}

func slotOf(r plan.Role) slot {
	if r == slotB.etcd || r == slotB.apiServer {
		return slotB
	}
	return slotA
}

// etcdData is a slot's data folder.
func (s slot) etcdData() string { return etcdDir + "/" + s.name }

// etcdEnv is where a slot's first membership is kept; etcd reads it only until
// it has data.
func (s slot) etcdEnv() string { return configDir + "/etcd-" + s.name + ".env" }

func (s slot) member(m config.Machine) string { return m.Hostname + "-" + s.name }

func (s slot) peerURL(m config.Machine) string {
	return fmt.Sprintf("https://%s:%d", m.HostIP, s.peerPort)
}

func etcdScript(m config.Machine, v pai.KubernetesVersion, r plan.Role, f flags) string {
	s := slotOf(r)
	f = f.drop("initial-cluster").drop("initial-cluster-state").
		set("name", s.member(m)).
		set("data-dir", s.etcdData()).
		set("listen-client-urls", fmt.Sprintf("https://127.0.0.1:%d,https://%s:%d", s.clientPort, m.HostIP, s.clientPort)).
		set("advertise-client-urls", fmt.Sprintf("https://%s:%d", m.HostIP, s.clientPort)).
		set("listen-peer-urls", s.peerURL(m)).
		set("initial-advertise-peer-urls", s.peerURL(m)).
		set("listen-metrics-urls", fmt.Sprintf("http://127.0.0.1:%d", s.metricsPort))
	return script(v, r, "etcd", f, "# The members, for a slot that has no data yet.", "set -a", ". "+s.etcdEnv(), "set +a")
}

func apiServerScript(cfg *config.Config, m config.Machine, v pai.KubernetesVersion, r plan.Role, f flags) string {
	f = f.set("advertise-address", m.HostIP).
		set("bind-address", "127.0.0.1").
		set("secure-port", fmt.Sprint(slotOf(r).securePort)).
		set("etcd-servers", fmt.Sprintf("https://127.0.0.1:%d,https://127.0.0.1:%d", slotA.clientPort, slotB.clientPort)).
		// PAI writes the endpoints of the service "kubernetes": an API server
		// that is stopped would take its address out, and every pod's way with it.
		set("endpoint-reconciler-type", "none").
		set("encryption-provider-config", encryptionFile).
		set("service-node-port-range", cfg.Kubernetes.ServiceNodePortRange).
		set("kubelet-certificate-authority", pkiDir+"/ca.crt").
		set("profiling", "false")
	return script(v, r, "kube-apiserver", f)
}
