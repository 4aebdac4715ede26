package cluster

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/fingerprint"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// Files are the files that a step would write into the directory of its version,
// by path. It changes nothing that runs.
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
	files, err := c.roleFiles(ctx, h, m, s.To.Kubernetes(), role, renderOptions{emulate: s.Emulate, reserve: s.Reserves()})
	if err != nil {
		return nil, fmt.Errorf("render %s of Kubernetes %s for %q: %w", role, s.To, m.Hostname, err)
	}
	contents := map[string]string{}
	for path, f := range files {
		contents[path] = f.content
	}
	return contents, nil
}

// renderRole writes the script of a role of a version, its configuration if it
// has one, and its unit. It changes nothing that runs.
func (c *cluster) renderRole(ctx context.Context, h machine.Host, m config.Machine, v pai.KubernetesVersion, r plan.Role) error {
	return c.renderWith(ctx, h, m, v, r, renderOptions{})
}

// renderStep is renderRole for a role that a step moves.
func (c *cluster) renderStep(ctx context.Context, h machine.Host, m config.Machine, s plan.Step, r plan.Role) error {
	return c.renderWith(ctx, h, m, s.To.Kubernetes(), r, renderOptions{emulate: s.Emulate, reserve: s.Reserves()})
}

// renderRoleAs is renderRole for a program that behaves as an older minor.
func (c *cluster) renderRoleAs(ctx context.Context, h machine.Host, m config.Machine, v pai.KubernetesVersion, r plan.Role, emulate string) error {
	return c.renderWith(ctx, h, m, v, r, renderOptions{emulate: emulate})
}

// renderOptions are what differs between the files of a role of a version.
type renderOptions struct {
	emulate string // the older minor that the program behaves as
	reserve bool   // the kubelet gets the reservations of the version
}

func (c *cluster) renderWith(ctx context.Context, h machine.Host, m config.Machine, v pai.KubernetesVersion, r plan.Role, o renderOptions) error {
	files, err := c.roleFiles(ctx, h, m, v, r, o)
	if err != nil {
		return fmt.Errorf("render %s of Kubernetes %s for %q: %w", r, v, m.Hostname, err)
	}
	if err := writeRole(ctx, h, v, r, files); err != nil {
		return fmt.Errorf("write %s of Kubernetes %s on %q: %w", r, v, m.Hostname, err)
	}
	return nil
}

// writeRole writes the files of a role. The script comes first: it has the digest
// of all of them, so a role that was started before differs from then on, also
// if the rest is never written.
func writeRole(ctx context.Context, h machine.Host, v pai.KubernetesVersion, r plan.Role, files map[string]preparedFile) error {
	script, unit := layout.RunScript(v, r), layout.UnitFile(r)
	marked := fingerprint.Mark(files[script].content, settings(v, r, files).Digest())
	if err := h.WriteFile(ctx, script, []byte(marked), files[script].mode); err != nil {
		return err
	}
	for _, file := range sortedKeys(files) {
		if file != script && file != unit {
			if err := writeRoleFile(ctx, h, file, files[file]); err != nil {
				return err
			}
		}
	}
	there, err := readPrepared(ctx, h)
	if err != nil {
		return err
	}
	same := there.Files[unit] == fingerprint.Of([]byte(files[unit].content))
	if same && !slices.Contains(there.NeedsReload, layout.Unit(r)) { // one that was killed can have written it
		return nil
	}
	if !same {
		if err := h.WriteFile(ctx, unit, []byte(files[unit].content), files[unit].mode); err != nil {
			return err
		}
	}
	_, err = sh(ctx, h, "systemctl daemon-reload")
	return err
}

func writeRoleFile(ctx context.Context, h machine.Host, file string, f preparedFile) error {
	if file == layout.APIProxyFile {
		return writeProxyFile(ctx, h, []byte(f.content))
	}
	return h.WriteFile(ctx, file, []byte(f.content), f.mode)
}

// settings are the settings of a role as its files say.
func settings(v pai.KubernetesVersion, r plan.Role, files map[string]preparedFile) fingerprint.Settings {
	s := fingerprint.Settings{Dir: layout.VersionDir(v), Files: map[string][]byte{},
		Script: []byte(files[layout.RunScript(v, r)].content), Unit: []byte(files[layout.UnitFile(r)].content)}
	for _, file := range layout.ConfigsOf(v, r) {
		s.Files[path.Base(file)] = []byte(files[file].content)
	}
	return s
}

// roleFiles are the files of a role of a version: its unit, and what is in the
// directory of the version.
func (c *cluster) roleFiles(ctx context.Context, h machine.Host, m config.Machine, v pai.KubernetesVersion, r plan.Role, o renderOptions) (map[string]preparedFile, error) {
	files, err := c.versionFiles(ctx, h, m, v, r, o)
	if err != nil {
		return nil, err
	}
	unit, err := unitOf(r)
	if err != nil {
		return nil, err
	}
	unit = unit.withAPIAddress(c.Config)
	i, err := c.content(ctx, h, v)
	if err != nil {
		return nil, err
	}
	if sinceV011(i.Upstream) {
		unit = unit.hardened()
	}
	files[layout.UnitFile(r)] = preparedFile{unitFile(unit), 0o644}
	return files, nil
}

func (c *cluster) versionFiles(ctx context.Context, h machine.Host, m config.Machine, v pai.KubernetesVersion, r plan.Role, o renderOptions) (map[string]preparedFile, error) {
	switch r {
	case plan.RoleRuntime:
		return c.runtimeFiles(ctx, h, v)
	case plan.RoleKubelet:
		return c.kubeletFiles(ctx, h, m, v, o.reserve)
	case plan.RoleAPIProxy:
		config, err := proxyFile(c.Config, m, nil)
		return map[string]preparedFile{
			layout.APIProxyFile:    {string(config), 0o644},
			layout.RunScript(v, r): {script(v, r, "api-proxy", flags{"--config=" + layout.APIProxyFile}), 0o755},
		}, err
	case plan.RoleKubeProxy:
		return kubeProxyFiles(c.Config, m, v)
	case plan.RoleNetwork:
		i, err := c.content(ctx, h, v)
		if err != nil {
			return nil, err
		}
		return networkFiles(c.Config, m, v, i.Upstream)
	case plan.RoleGPU:
		return map[string]preparedFile{layout.RunScript(v, r): {script(v, r, "gpu", nil), 0o755}}, nil
	case plan.RoleEtcdA, plan.RoleEtcdB, plan.RoleAPIServerA, plan.RoleAPIServerB, plan.RoleControllerManager, plan.RoleScheduler:
	}
	f, err := c.componentFlags(ctx, h, v, r)
	if err != nil {
		return nil, err
	}
	i, err := c.content(ctx, h, v)
	if err != nil {
		return nil, err
	}
	mode := fs.FileMode(0o755)
	if sinceV011(i.Upstream) {
		mode = privateScript
	}
	files := map[string]preparedFile{layout.RunScript(v, r): {componentScript(c.Config, m, v, i.Upstream, r, emulating(f, o.emulate)), mode}}
	if sinceV011(i.Upstream) && layout.SlotOf(r).APIServer == r {
		err = addAuditPolicy(files, v)
	}
	return files, err
}

// componentScript is the script of a control-plane component: the flags of kubeadm
// with the changes of PAI.
func componentScript(cfg *config.Config, m config.Machine, v pai.KubernetesVersion, upstream string, r plan.Role, f flags) string {
	switch r {
	case plan.RoleEtcdA, plan.RoleEtcdB:
		return etcdScript(cfg, m, v, r, f)
	case plan.RoleAPIServerA, plan.RoleAPIServerB:
		f = apiServerFlags(cfg, m, r, f)
		if sinceV011(upstream) {
			f = apiServerFlagsSinceV011(f, v, r)
		}
		return script(v, r, "kube-apiserver", f)
	case plan.RoleControllerManager:
		f = leaderFlags(cfg, f)
		if sinceV011(upstream) {
			f = f.set("terminated-pod-gc-threshold", fmt.Sprint(endedPods))
		}
		return script(v, r, "kube-controller-manager", f)
	case plan.RoleScheduler:
		return script(v, r, "kube-scheduler", leaderFlags(cfg, f))
	default:
		panic(fmt.Sprintf("%s is no control-plane component", r)) // a role that the callers do not have
	}
}

// leaderFlags turns leader election on where several control-plane machines have the
// component. With one, an election only waits for the lease of the last leader to expire.
func leaderFlags(cfg *config.Config, f flags) flags {
	return f.set("leader-elect", strconv.FormatBool(cfg.SeveralControlPlanes())).set("profiling", "false")
}

const (
	// etcdQuota is what the documentation of etcd recommends at most. Above it, etcd
	// refuses every write; its default is 2 GiB.
	etcdQuota = 8 << 30
	// firstWithEtcdQuota keeps the command lines of older versions: a cluster of one
	// needs no step.
	firstWithEtcdQuota = pai.KubernetesVersion("v0.11-pai")
)

// maxLearners is how many control-plane machines can join before any of them votes: all but
// the first of five. Every member must have the same number, because each of them checks
// it when it applies a change.
const maxLearners = 4

func etcdScript(cfg *config.Config, m config.Machine, v pai.KubernetesVersion, r plan.Role, f flags) string {
	s := layout.SlotOf(r)
	f = f.drop("initial-cluster").drop("initial-cluster-state").
		set("name", s.Member(m.Hostname)).
		set("data-dir", s.EtcdData()).
		set("listen-client-urls", fmt.Sprintf("https://127.0.0.1:%d,https://%s:%d", s.EtcdClientPort, m.HostIP, s.EtcdClientPort)).
		set("advertise-client-urls", fmt.Sprintf("https://%s:%d", m.HostIP, s.EtcdClientPort)).
		set("listen-peer-urls", s.PeerURL(m.HostIP)).
		set("initial-advertise-peer-urls", s.PeerURL(m.HostIP)).
		set("listen-metrics-urls", fmt.Sprintf("http://127.0.0.1:%d", s.EtcdMetricsPort))
	if v.AtLeast(firstWithEtcdQuota) {
		f = f.set("quota-backend-bytes", fmt.Sprint(int64(etcdQuota)))
	}
	if len(cfg.ControlPlanes()) > 1 { // a cluster of one needs no step
		f = f.set("max-learners", fmt.Sprint(maxLearners))
	}
	return script(v, r, "etcd", f, "# The members, for a slot that has no data yet.", "set -a", ". "+s.EtcdEnv(), "set +a")
}

// apiServerFlags are the flags of kubeadm with the changes of PAI for every version.
func apiServerFlags(cfg *config.Config, m config.Machine, r plan.Role, f flags) flags {
	return f.set("advertise-address", m.HostIP).
		set("bind-address", "127.0.0.1").
		set("secure-port", fmt.Sprint(layout.SlotOf(r).APIServerPort)).
		set("etcd-servers", fmt.Sprintf("https://127.0.0.1:%d,https://127.0.0.1:%d", layout.SlotA.EtcdClientPort, layout.SlotB.EtcdClientPort)).
		// PAI writes the endpoints of the service "kubernetes": an API server
		// that is stopped would take its address out, and every pod's way with it.
		set("endpoint-reconciler-type", "none").
		set("encryption-provider-config", layout.EncryptionFile).
		set("service-node-port-range", cfg.Kubernetes.ServiceNodePortRange).
		set("kubelet-certificate-authority", layout.PKIDir+"/ca.crt").
		set("profiling", "false")
}
