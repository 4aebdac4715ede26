package check

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"pai.dev/pai/internal/cluster"
	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/etcd"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/plan"
)

func controlPlaneChecks() []Check {
	return []Check{
		{"components", "every component of Kubernetes runs and is healthy", Upgrade, onCluster(components)},
		{"control-plane", "all parts of the API server are ready", Services | Upgrade, onCluster(controlPlane)},
		{"etcd", "etcd is healthy and has a leader and free space", Upgrade, onCluster(etcdState)},
	}
}

// components tests every role on every machine.
func components(ctx context.Context, w *world) ([]Result, error) {
	type component struct {
		config.Machine
		role  plan.Role
		state plan.RoleState
	}
	var list []component
	for _, m := range w.Config.Layout.MachineList {
		state := w.observed(m.Hostname)
		if state.Unreachable != "" || !state.Joined && !state.ControlPlane {
			continue
		}
		for _, r := range expectedRoles(state) {
			list = append(list, component{m, r, state.Roles[r]})
		}
	}
	if len(list) == 0 {
		return nil, errNoMachine
	}
	return parallel(list, func(c component) Result { return w.component(ctx, c.Machine, c.state, c.role) }), nil
}

func (w *world) component(ctx context.Context, m config.Machine, state plan.RoleState, r plan.Role) Result {
	target, unit := m.Hostname+"/"+string(r), layout.Unit(r)
	fix := fmt.Sprintf("on %s, start %s; for the cause, run: journalctl -u %s", m.Hostname, unit, unit)
	switch {
	case state.Running == "":
		return failed(target, fix, "not running")
	case state.Link != state.Running && state.Link != "":
		// A role whose programs did not change keeps running from the old directory.
		return okay(target, "runs from %s; its link names %s", state.Running, state.Link)
	}
	if err := cluster.Health(ctx, cluster.Deps{Config: w.Config, Hosts: w.Hosts}, m, r); err != nil {
		if ctx.Err() != nil {
			return unknown(target, context.Cause(ctx))
		}
		return failed(target, fix, "running, but not healthy: %v", err)
	}
	return okay(target, "runs from %s, healthy", state.Running)
}

// expectedRoles returns the roles of a machine of a cluster. Of the two slots of
// etcd and of the API server, it returns the one that runs or should run.
func expectedRoles(m plan.MachineState) []plan.Role {
	roles := []plan.Role{plan.RoleRuntime, plan.RoleKubelet, plan.RoleKubeProxy, plan.RoleNetwork, plan.RoleAPIProxy}
	if m.Roles[plan.RoleGPU].Link != "" {
		roles = append(roles, plan.RoleGPU)
	}
	if !m.ControlPlane {
		return roles
	}
	for _, pair := range [][2]plan.Role{{plan.RoleEtcdA, plan.RoleEtcdB}, {plan.RoleAPIServerA, plan.RoleAPIServerB}} {
		chosen := pair[0]
		if b := m.Roles[pair[1]]; m.Roles[chosen].Running == "" && (b.Running != "" || b.Link != "") {
			chosen = pair[1]
		}
		roles = append(roles, chosen)
	}
	return append(roles, plan.RoleControllerManager, plan.RoleScheduler)
}

// controlPlane reads which parts of the API server are ready.
func controlPlane(ctx context.Context, w *world) ([]Result, error) {
	client, err := w.api.client.get(ctx)
	if err != nil {
		return []Result{failed("", "on the control-plane machine, run: systemctl status 'pai-apiserver-*' 'pai-etcd-*'", "%v", err)}, nil
	}
	// An API server that is not ready responds with the list and an error.
	data, err := client.Clientset().CoreV1().RESTClient().Get().AbsPath("/readyz").Param("verbose", "").DoRaw(ctx)
	return readyz(data, err)
}

// readyz parses the lines "[+]etcd ok" and "[-]etcd failed: reason withheld".
func readyz(data []byte, err error) ([]Result, error) {
	var all []Result
	parts := 0
	for line := range bytes.Lines(data) {
		text := strings.TrimSpace(string(line))
		if strings.HasPrefix(text, "[+]") || strings.HasPrefix(text, "[-]") {
			parts++
		}
		if part, bad := strings.CutPrefix(text, "[-]"); bad {
			name, why, _ := strings.Cut(part, " ")
			all = append(all, failed(name, "for the cause, run on the control-plane machine: journalctl -u 'pai-apiserver-*'", "the API server reports: %s", why))
		}
	}
	switch {
	case len(all) > 0:
		return all, nil
	case err != nil:
		return nil, fmt.Errorf("read /readyz of the API: %w", err)
	case parts == 0:
		return nil, fmt.Errorf("/readyz of the API lists no parts, but %q", firstLine(string(data)))
	default:
		return []Result{okay("", "all %d parts of the API server are ready", parts)}, nil
	}
}

// etcdState: a full etcd refuses every write.
func etcdState(ctx context.Context, w *world) ([]Result, error) {
	status, err := w.api.etcd.get(ctx)
	if err != nil {
		return nil, err
	}
	return []Result{etcdOf(status)}, nil
}

// etcdRole returns the slot that etcd runs in; during a handover, the newer one.
func etcdRole(m plan.MachineState) (plan.Role, bool) {
	a, b := m.Roles[plan.RoleEtcdA].Running, m.Roles[plan.RoleEtcdB].Running
	switch {
	case a == "" && b == "":
		return "", false
	case a.Less(b):
		return plan.RoleEtcdB, true
	default:
		return plan.RoleEtcdA, true
	}
}

func readEtcd(ctx context.Context, in Input) (etcd.Overview, error) {
	var problems []string
	for _, m := range in.World.Machines {
		if !m.ControlPlane {
			continue
		}
		role, runs := etcdRole(m)
		switch {
		case runs:
			return etcd.ReadOverview(ctx, in.Hosts[m.Name], layout.SlotOf(role))
		case m.Unreachable != "":
			problems = append(problems, m.Name+" was not observed")
		default:
			problems = append(problems, "etcd does not run on "+m.Name)
		}
	}
	return etcd.Overview{}, errors.New(strings.Join(problems, "; "))
}

// defaultQuota is the quota of etcd if it reports none.
const defaultQuota = 2 << 30

func etcdOf(s etcd.Overview) Result {
	quota, free := cmp.Or(s.Quota, defaultQuota), max(s.Size-s.Used, 0)
	usage := fmt.Sprintf("%s of %s used; defragmentation would free %s", size(s.Size), size(quota), size(free))
	const (
		logs       = "for the cause, run on the control-plane machine: journalctl -u 'pai-etcd-*'"
		defragment = "defragment it, which blocks it for a moment; on the control-plane machine, run: etcdctl defrag"
	)
	switch {
	case s.Leader == 0:
		return failed("", logs, "etcd has no leader")
	case len(s.Alarms) > 0:
		return failed("", defragment+"; then run: etcdctl alarm disarm", "alarms: %s; %s", strings.Join(s.Alarms, ", "), usage)
	case len(s.Errors) > 0:
		return failed("", logs, "etcd reports: %s", strings.Join(s.Errors, "; "))
	case s.Size > quota/10*9:
		return failed("", defragment, "%s; a full etcd refuses every write", usage)
	case s.Size > quota/10*7 && s.Used > quota/2:
		return warning("", "keep fewer ended jobs: lower rest-server.ended-jobs-limit or rest-server.ended-jobs-days; then "+defragment, "%s", usage)
	case s.Size > quota/10*7 || free > 256<<20 && free > s.Size/2:
		return warning("", defragment, "%s", usage)
	case s.Members.Learners() > 0:
		return warning("", "run the interrupted operation again to finish the handover", "%d of %d members do not vote yet", s.Members.Learners(), len(s.Members))
	default:
		return okay("", "%s, %d voting members with a leader; %s", s.Version, len(s.Members), usage)
	}
}
