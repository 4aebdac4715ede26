package check

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"

	"pai.dev/pai/internal/cluster"
	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/plan"
)

// components asks every role of every machine whether it runs and how it is.
func components(ctx context.Context, w *world) []Result {
	if !w.kubernetesRuns() {
		return nil
	}
	var mu sync.Mutex
	var all []Result
	var wg sync.WaitGroup
	slots := make(chan struct{}, 64) // sessions of one machine are bounded by its connection
	for _, m := range w.Config.Layout.MachineList {
		o := w.observed(m.Hostname)
		if o.Unreachable != "" || !o.Joined && !o.ControlPlane {
			continue
		}
		for _, r := range expectedRoles(o) {
			slots <- struct{}{}
			wg.Go(func() {
				defer func() { <-slots }()
				found := w.component(ctx, m, o, r)
				mu.Lock()
				defer mu.Unlock()
				all = append(all, found)
			})
		}
	}
	wg.Wait()
	if len(all) == 0 {
		return []Result{unknown("", errNoMachine)}
	}
	return all
}

func (w *world) component(ctx context.Context, m config.Machine, o plan.MachineState, r plan.Role) Result {
	target := m.Hostname + "/" + string(r)
	unit := layout.Unit(r)
	fix := fmt.Sprintf("on %s: journalctl -u %s says why; systemctl start %s", m.Hostname, unit, unit)
	state := o.Roles[r]
	switch {
	case state.Running == "":
		return failed(target, fix, "it does not run")
	case state.Link != state.Running && state.Link != "":
		// A role whose programs did not change keeps running from the old folder.
		return okay(target, "runs from %s; its link names %s", state.Running, state.Link)
	}
	if err := cluster.Health(ctx, cluster.Deps{Config: w.Config, Hosts: w.Hosts}, m, r); err != nil {
		if ctx.Err() != nil {
			return unknown(target, context.Cause(ctx))
		}
		return failed(target, fix, "it runs and is not healthy: %v", err)
	}
	return okay(target, "runs from %s, healthy", state.Running)
}

// expectedRoles are those that a machine of a cluster has. Of the two slots of
// etcd and of the API server it is the one that runs, or should.
func expectedRoles(m plan.MachineState) []plan.Role {
	roles := []plan.Role{plan.RoleRuntime, plan.RoleKubelet, plan.RoleKubeProxy, plan.RoleNetwork, plan.RoleAPIProxy}
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

// controlPlane asks the API server for its own list of what is ready.
func controlPlane(ctx context.Context, w *world) []Result {
	if !w.kubernetesRuns() {
		return nil
	}
	client, err := w.api.client.get(ctx)
	if err != nil {
		return []Result{failed("", "see on the control-plane machine: systemctl status 'pai-apiserver-*' 'pai-etcd-*'", "%v", err)}
	}
	// An API server that is not ready answers with the list and an error.
	data, err := client.Clientset().CoreV1().RESTClient().Get().AbsPath("/readyz").Param("verbose", "").DoRaw(ctx)
	return readyz(data, err)
}

// readyz reads the lines "[+]etcd ok" and "[-]etcd failed: reason withheld".
func readyz(data []byte, err error) []Result {
	var all []Result
	parts := 0
	for line := range bytes.Lines(data) {
		text := strings.TrimSpace(string(line))
		if strings.HasPrefix(text, "[+]") || strings.HasPrefix(text, "[-]") {
			parts++
		}
		if part, bad := strings.CutPrefix(text, "[-]"); bad {
			name, why, _ := strings.Cut(part, " ")
			all = append(all, failed(name, "on the control-plane machine: journalctl -u 'pai-apiserver-*' says why", "the API server says: %s", why))
		}
	}
	switch {
	case len(all) > 0:
		return all
	case err != nil:
		return []Result{unknown("", fmt.Errorf("ask the API whether it is ready: %w", err))}
	case parts == 0:
		return []Result{unknown("", fmt.Errorf("the API did not list its parts, but said %q", firstLine(string(data))))}
	default:
		return []Result{okay("", "all %d parts of the API server are ready", parts)}
	}
}

// etcd without room refuses every write, and takes half an hour of an
// operator's to come back.
func etcd(ctx context.Context, w *world) []Result {
	if !w.kubernetesRuns() {
		return nil
	}
	status, err := w.api.etcd.get(ctx)
	if err != nil {
		return []Result{unknown("", err)}
	}
	return []Result{etcdOf(status)}
}

// defaultQuota is etcd's own where it does not say.
const defaultQuota = 2 << 30

func etcdOf(s cluster.EtcdStatus) Result {
	quota := s.Quota
	if quota == 0 {
		quota = defaultQuota
	}
	free := max(s.Size-s.Used, 0)
	room := fmt.Sprintf("%s of %s used, of which defragmenting would free %s", size(s.Size), size(quota), size(free))
	const defragment = "defragment it, which stops it for a moment: etcdctl defrag on the control-plane machine"
	switch {
	case s.Leader == 0:
		return failed("", "see journalctl -u 'pai-etcd-*' on the control-plane machine", "it has no leader")
	case len(s.Alarms) > 0:
		return failed("", defragment+"; then etcdctl alarm disarm", "alarms: %s; %s", strings.Join(s.Alarms, ", "), room)
	case len(s.Errors) > 0:
		return failed("", "see journalctl -u 'pai-etcd-*' on the control-plane machine", "it reports: %s", strings.Join(s.Errors, "; "))
	case s.Size > quota/10*9:
		return failed("", defragment, "%s; a full etcd takes no more writes", room)
	case s.Size > quota/10*7 || free > 256<<20 && free > s.Size/2:
		return warning("", defragment, "%s", room)
	case s.Learners > 0:
		return warning("", "run the operation that was interrupted again: it finishes the hand-over", "%d of %d members do not vote yet", s.Learners, s.Members)
	default:
		return okay("", "%s, %d voting members with a leader; %s", s.Version, s.Members, room)
	}
}
