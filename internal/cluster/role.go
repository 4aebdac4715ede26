package cluster

import (
	"context"
	"fmt"
	"strings"
	"time"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/poll"
)

// healthTimeout is how long a component has to become healthy after its start. On
// two busy cores, seconds are normal.
const healthTimeout = 90 * time.Second

// roleDone reports whether the link of the role names the version, and the running
// program comes from its directory and is healthy.
func (c *cluster) roleDone(ctx context.Context, h machine.Host, m config.Machine, s plan.Step) (bool, error) {
	state, err := roleState(ctx, h, s.Role)
	if err != nil {
		return false, err
	}
	if ok, err := c.fulfilled(ctx, h, m, s, s.Role, state); err != nil || !ok {
		return false, err
	}
	return c.healthy(ctx, h, s.Role) == nil, nil
}

// role moves a role to a version: it writes the files, moves the link, and restarts
// only the unit of the role.
func (c *cluster) role(ctx context.Context, h machine.Host, m config.Machine, s plan.Step) error {
	if err := c.roleNeeds(ctx, h, s); err != nil {
		return fmt.Errorf("write the API access of %s on %q: %w", s.Role, h.Name(), err)
	}
	if err := c.renderRoleAs(ctx, h, m, s.To.Kubernetes(), s.Role, s.Emulate); err != nil {
		return err
	}
	if s.Role == plan.RoleKubeProxy && s.Back() {
		if err := removeNewerRules(ctx, h); err != nil {
			return err
		}
	}
	if s.Role == plan.RoleNetwork && s.Back() {
		if err := removeTaskRules(ctx, h); err != nil {
			return err
		}
	}
	if s.StopsStarts() {
		defer c.gapSince(ctx, h, time.Now())
	}
	if err := c.replaceRole(ctx, h, m, s); err != nil {
		return err
	}
	return c.awaitRole(ctx, h, s.Role, s.To.Kubernetes())
}

func (c *cluster) replaceRole(ctx context.Context, h machine.Host, m config.Machine, s plan.Step) error {
	if s.Role == plan.RoleAPIProxy {
		return c.replaceAPIProxy(ctx, h, m, s.To.Kubernetes())
	}
	return moveAndRestart(ctx, h, s.Role, s.To.Kubernetes())
}

// gapSince reports the time in which no container could start on a machine: from
// before a unit was stopped until its successor was seen to be healthy. The gap
// itself is a little shorter.
func (c *cluster) gapSince(ctx context.Context, h machine.Host, began time.Time) {
	c.Gap(ctx, h.Name(), time.Since(began))
}

// roleNeeds writes what a role reads outside of its directory: its API access.
func (c *cluster) roleNeeds(ctx context.Context, h machine.Host, s plan.Step) error {
	switch s.Role {
	case plan.RoleAPIProxy:
		return c.copyCA(ctx, h)
	case plan.RoleKubeProxy:
		return c.writeKubeconfig(ctx, h, s.To.Kubernetes(), layout.KubeProxyUser, layout.KubeProxyConf)
	case plan.RoleNetwork:
		i, err := c.content(ctx, h, s.To.Kubernetes())
		if err != nil {
			return err
		}
		return c.writeKubeconfig(ctx, h, s.To.Kubernetes(), networkUserOf(h.Name(), i.Upstream), layout.NetworkConf)
	case plan.RoleRuntime, plan.RoleEtcdA, plan.RoleEtcdB, plan.RoleAPIServerA, plan.RoleAPIServerB,
		plan.RoleControllerManager, plan.RoleScheduler, plan.RoleKubelet, plan.RoleGPU:
	}
	return nil
}

// copyCA copies the certificate authority of the cluster to a machine.
func (c *cluster) copyCA(ctx context.Context, h machine.Host) error {
	ca, err := c.clusterCA(ctx)
	if err != nil {
		return err
	}
	for _, path := range []string{layout.CAFile, layout.PKIDir + "/ca.crt"} {
		if err := h.WriteFile(ctx, path, ca, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func (c *cluster) clusterCA(ctx context.Context) ([]byte, error) {
	control, _, err := c.controlPlane()
	if err != nil {
		return nil, err
	}
	ca, err := control.ReadFile(ctx, layout.PKIDir+"/ca.crt")
	if err != nil {
		return nil, fmt.Errorf("read the certificate authority of the cluster: %w", err)
	}
	return ca, nil
}

// writeKubeconfig creates a kubeconfig for a user on the control-plane machine,
// where the key of the authority stays, and writes it on a machine.
func (c *cluster) writeKubeconfig(ctx context.Context, h machine.Host, v pai.KubernetesVersion, user, path string) error {
	control, _, err := c.controlPlane()
	if err != nil {
		return err
	}
	kubeconfig, err := c.runKubeadm(ctx, control, v, machine.Command{Secret: true,
		Script: `"$kubeadm" kubeconfig user --config "$config" --client-name ` + machine.Quote(user) + " 2>/dev/null"})
	if err != nil {
		return fmt.Errorf("create a kubeconfig for %s: %w", user, err)
	}
	return h.WriteFile(ctx, path, []byte(kubeconfig+"\n"), 0o600)
}

// moveAndRestart moves the link of a role, enables its unit, and restarts it. It also
// starts after power loss.
func moveAndRestart(ctx context.Context, h machine.Host, r plan.Role, v pai.KubernetesVersion) error {
	_, err := sh(ctx, h, "%s\nSYSTEMD_OFFLINE=1 systemctl enable -q %[2]s\nsystemctl restart %[2]s\nsync %[3]s\n%[4]s", moveLink(r, v), layout.Unit(r), layout.RolesDir, syncUnits)
	if err != nil {
		return withJournal(ctx, h, r, fmt.Errorf("restart %s of Kubernetes %s on %q: %w", r, v, h.Name(), err))
	}
	return nil
}

// moveLink is the command that points a role's link to a version, atomically.
func moveLink(r plan.Role, v pai.KubernetesVersion) string {
	return fmt.Sprintf("[ -x %[1]s ]\nmkdir -p %[2]s\nln -sfn ../%[3]s %[4]s.new\nmv -T %[4]s.new %[4]s",
		layout.RunScript(v, r), layout.RolesDir, v, layout.RoleLink(r))
}

// awaitRole waits until the role runs the version and is healthy.
func (c *cluster) awaitRole(ctx context.Context, h machine.Host, r plan.Role, v pai.KubernetesVersion) error {
	wait := poll.Wait{For: fmt.Sprintf("%s of Kubernetes %s to be healthy on %s", r, v, h.Name()), Timeout: healthTimeout, Every: 100 * time.Millisecond}
	return withJournal(ctx, h, r, wait.Until(ctx, func(ctx context.Context) (bool, error) {
		if err := c.healthy(ctx, h, r); err != nil {
			return false, err
		}
		state, err := roleState(ctx, h, r)
		if err != nil {
			return false, err
		}
		if state.Running != v {
			return false, fmt.Errorf("the running version is %q", state.Running)
		}
		return true, nil
	}))
}

// Health asks a role of a machine for its health, as the steps do. It needs only
// the configuration and the machines of Deps.
func Health(ctx context.Context, d Deps, m config.Machine, r plan.Role) error {
	h := d.Hosts[m.Hostname]
	if h == nil {
		return fmt.Errorf("machine %q is unreachable", m.Hostname)
	}
	return (&cluster{Deps: d}).healthy(ctx, h, r)
}

// healthy asks a component for its health.
func (c *cluster) healthy(ctx context.Context, h machine.Host, r plan.Role) error {
	switch r {
	case plan.RoleRuntime:
		_, err := sh(ctx, h, "%s version >/dev/null", layout.Ctr)
		return err
	case plan.RoleControllerManager:
		return probe(ctx, h, fmt.Sprintf("https://127.0.0.1:%d/healthz", layout.ControllerManagerPort), nil)
	case plan.RoleScheduler:
		return probe(ctx, h, fmt.Sprintf("https://127.0.0.1:%d/healthz", layout.SchedulerPort), nil)
	case plan.RoleKubeProxy:
		return probe(ctx, h, fmt.Sprintf("http://127.0.0.1:%d/healthz", layout.KubeProxyHealthPort), nil)
	case plan.RoleKubelet:
		return probe(ctx, h, fmt.Sprintf("http://127.0.0.1:%d/healthz", layout.KubeletHealthPort), nil)
	case plan.RoleAPIProxy:
		ca, err := h.ReadFile(ctx, layout.CAFile)
		if err != nil {
			return err
		}
		for _, address := range proxyAddresses(c.Config) {
			if err := probe(ctx, h, fmt.Sprintf("https://%s:%d/readyz", address, c.Config.Kubernetes.APIServersPort), ca); err != nil {
				return err
			}
		}
		return nil
	case plan.RoleNetwork:
		return networkHealth(ctx, h)
	case plan.RoleGPU:
		return gpuHealth(ctx, h)
	case plan.RoleEtcdA, plan.RoleEtcdB:
		return c.etcdHealthy(ctx, h, layout.SlotOf(r))
	case plan.RoleAPIServerA, plan.RoleAPIServerB:
		return c.apiServerReady(ctx, h, layout.SlotOf(r))
	}
	return fmt.Errorf("role %s has no health check", r)
}

// journalOf is the end of the journal of a unit, for the details of an error. It
// also works after an interrupt.
func journalOf(ctx context.Context, h machine.Host, r plan.Role) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	out, err := sh(ctx, h, "journalctl -q -o cat -n 6 -u %s", layout.Unit(r))
	if err != nil || out == "" {
		return ""
	}
	return fmt.Sprintf("the journal of %s on %s ends with:\n%s", layout.Unit(r), h.Name(), indent(out))
}

// withJournal adds the end of the journal of a unit to the details of an error.
func withJournal(ctx context.Context, h machine.Host, r plan.Role, err error) error {
	if err == nil {
		return nil
	}
	return pai.WithDetails(err, journalOf(ctx, h, r))
}

func indent(s string) string { return "    " + strings.ReplaceAll(s, "\n", "\n    ") }
