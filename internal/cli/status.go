package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pai.dev/pai/internal/cli/ui"
	"pai.dev/pai/internal/configsync"
	"pai.dev/pai/internal/operation"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/session"
)

func newClusterStatusCommand(env *Env) *cobra.Command {
	return showsCluster(env, &cobra.Command{
		Use:   "status",
		Short: "Show what the cluster runs: machines, Kubernetes, services, jobs",
	}, session.Open, func(ctx context.Context, s *session.Session) (clusterStatus, error) {
		w, err := operation.Observe(ctx, s)
		if err != nil {
			return clusterStatus{}, err
		}
		status := clusterStatus{World: w, Portal: portalOf(s, w)}
		if status.Backups, err = operation.ReadScheduledBackups(ctx, s); err != nil {
			env.Progressf("backups: unknown: %v", err)
		}
		c, err := configsync.ReadState(ctx, s)
		if err != nil {
			env.Progressf("applied configuration: unknown: %v", err)
			return status, nil
		}
		status.Configuration = &c
		return status, nil
	}, writeStatus)
}

// clusterStatus is what `cluster status -o json` prints.
type clusterStatus struct {
	plan.World
	// Configuration is null if it is unknown.
	Configuration *configsync.State `json:"configuration"`
	// Portal are the addresses of the portal, on any machine; none if it is not installed.
	Portal []string `json:"portal,omitempty"`
	// Backups are those that the control-plane machine makes without an operator.
	Backups *operation.ScheduledBackups `json:"backups,omitempty"`
}

func portalOf(s *session.Session, w plan.World) []string {
	if _, installed := w.Services[operation.PortalService]; !installed {
		return nil
	}
	return s.Portal().URLs()
}

func writeStatus(p *ui.Page, s clusterStatus) {
	w := s.World
	p.Linef("cluster %s: %s", ui.OrDash(w.ClusterID), describeCluster(w))
	if s.Configuration != nil {
		writeConfigurationState(p, *s.Configuration)
	}
	if s.Backups != nil {
		p.Linef("%s", s.Backups.Line(time.Now()))
	}
	if w.UnknownControlPlane() != "" {
		p.Linef("services and jobs: unknown; %s", w.APIError)
	} else if w.APIError != "" {
		p.Linef("services and jobs: unknown; the API server is not responding: %s", w.APIError)
	}
	p.Linef("")
	p.Row("MACHINE", "ADDRESS", "ROLE", "KUBELET", "STATE")
	for _, m := range w.Machines {
		p.Row(m.Name, m.Address, machineRole(m), m.Roles[plan.RoleKubelet].Running, machineState(m, w.APIError))
	}
	if !w.APIReachable {
		writeUnconfigured(p, w)
		return
	}
	p.Linef("")
	p.Row("SERVICE", "RELEASE", "STATE")
	for _, name := range slices.Sorted(maps.Keys(w.Services)) {
		p.Row(name, w.Services[name].Release, serviceState(w.Services[name]))
	}
	writeUnconfigured(p, w)
	p.Linef("\n%d jobs are running", len(w.Running()))
	writePortal(p, s.Portal)
}

func writeConfigurationState(p *ui.Page, c configsync.State) {
	if c.Newest == nil {
		p.Linef("configuration: no revision yet")
		return
	}
	p.Linef("configuration: %s", c.Newest)
	for _, part := range c.Pending {
		applied := "unknown"
		if n := c.Applied[part]; n > 0 {
			applied = fmt.Sprintf("revision %d", n)
		}
		p.Linef("  not yet applied to %s, where the applied configuration is: %s; to compare, run: paictl config diff", part, applied)
	}
	switch c.Directory {
	case configsync.Changed:
		p.Linef("  the local directory has changes that were not pushed; to see them, run: paictl config diff")
	case configsync.Outdated:
		p.Linef("  the local directory is outdated; to update it, run: paictl config pull")
	}
}

func describePair(p pai.Pair) string { return describeRunning(p, "") }

// describeCluster is what a cluster runs. Without the control-plane machine, which has the
// record, it is unknown.
func describeCluster(w plan.World) string {
	if w.Current.Kubernetes == "" && w.UnknownControlPlane() != "" {
		return "unknown"
	}
	return describeRunning(w.Current, w.APIError)
}

// describeRunning is an observed pair. If the API server is not responding,
// services that were not observed are unknown.
func describeRunning(p pai.Pair, apiError string) string {
	switch {
	case p.Kubernetes == "":
		return "no Kubernetes"
	case p.Services == "" && apiError != "":
		return fmt.Sprintf("Kubernetes %s; services: unknown", p.Kubernetes)
	case p.Services == "":
		return fmt.Sprintf("Kubernetes %s, no services", p.Kubernetes)
	default:
		return p.String()
	}
}

func machineRole(m plan.MachineState) string {
	if m.ControlPlane {
		return "control plane"
	}
	return "worker"
}

func machineState(m plan.MachineState, apiError string) string {
	switch {
	case m.Maintenance != nil && m.Unreachable != "":
		return "unreachable, " + m.Maintenance.String()
	case m.Maintenance != nil && m.Node != nil && !m.Node.Unschedulable:
		return m.Maintenance.String() + ", but not cordoned; run: paictl machine maintain " + m.Name
	case m.Maintenance != nil:
		return m.Maintenance.String()
	case m.Unreachable != "":
		return "unreachable: " + ui.FirstLine(m.Unreachable)
	case m.Node == nil && apiError != "":
		return "unknown"
	case m.Node == nil:
		return "no node"
	case !m.Node.Ready:
		return "not ready"
	case m.InMaintenance():
		return "ready, cordoned for maintenance"
	case m.Node.Unschedulable && m.Node.CordonedByPAI:
		return "ready, cordoned by PAI"
	case m.Node.Unschedulable:
		return "ready, cordoned by an operator"
	default:
		return "ready"
	}
}

func serviceState(s plan.Installed) string {
	if s.Ready {
		return "ready"
	}
	return strings.TrimSuffix("not ready: "+s.Message, ": ")
}
