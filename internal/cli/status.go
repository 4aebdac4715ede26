package cli

import (
	"context"
	"fmt"
	"io"
	"sort"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/upgrade"
)

func newClusterStatusCommand(env *Env) *cobra.Command {
	return showsCluster(env, &cobra.Command{
		Use:   "status",
		Short: "Show what the cluster runs: machines, Kubernetes, services, jobs",
	}, func(ctx context.Context, s *upgrade.Session) (clusterStatus, error) {
		w, err := s.Observe(ctx)
		if err != nil {
			return clusterStatus{}, err
		}
		c, err := s.ConfigurationState(ctx)
		if err != nil {
			env.Progressf("what is applied of the configuration is not known: %v", err)
			return clusterStatus{World: w}, nil
		}
		return clusterStatus{w, &c}, nil
	}, writeStatus)
}

// clusterStatus is what `cluster status -o json` prints.
type clusterStatus struct {
	plan.World
	// Configuration is null where it is not known.
	Configuration *upgrade.ConfigurationState `json:"configuration"`
}

func writeStatus(out io.Writer, s clusterStatus) error {
	w := s.World
	fmt.Fprintf(out, "cluster %s: %s\n", orNone(w.ClusterID), describeRunning(w.Current, w.APIError))
	if s.Configuration != nil {
		writeConfigurationState(out, *s.Configuration)
	}
	if w.APIError != "" {
		fmt.Fprintf(out, "the API does not answer, so services and jobs are unknown: %s\n", w.APIError)
	}
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\nMACHINE\tADDRESS\tROLE\tKUBELET\tSTATE")
	for _, m := range w.Machines {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", m.Name, m.Address, machineRole(m), orNone(string(m.Roles[plan.RoleKubelet].Running)), machineState(m, w.APIError))
	}
	if w.APIReachable {
		fmt.Fprintln(t, "\nSERVICE\tRELEASE\tSTATE")
		for _, name := range sortedServices(w.Services) {
			s := w.Services[name]
			fmt.Fprintf(t, "%s\t%s\t%s\n", name, s.Release, serviceState(s))
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if w.APIReachable {
		fmt.Fprintf(out, "\n%d jobs run\n", len(w.Running()))
	}
	return nil
}

func writeConfigurationState(out io.Writer, c upgrade.ConfigurationState) {
	if c.Newest == nil {
		fmt.Fprintln(out, "configuration: no revision yet")
		return
	}
	fmt.Fprintf(out, "configuration: %s\n", c.Newest)
	for _, part := range c.Pending {
		at := "not known"
		if n := c.Applied[part]; n > 0 {
			at = fmt.Sprintf("revision %d", n)
		}
		fmt.Fprintf(out, "  not applied to %s yet, which has %s; see: paictl config diff\n", part, at)
	}
	switch c.Folder {
	case upgrade.FolderChanged:
		fmt.Fprintln(out, "  the folder has changes that are not pushed; see: paictl config diff")
	case upgrade.FolderBehind:
		fmt.Fprintln(out, "  the folder is not of this revision; take it with: paictl config pull")
	}
}

func describePair(p pai.Pair) string {
	if p.Kubernetes == "" {
		return "no Kubernetes"
	}
	if p.Services == "" {
		return fmt.Sprintf("Kubernetes %s, no services", p.Kubernetes)
	}
	return p.String()
}

// describeRunning is describePair for what was observed: services that nobody
// could see are not none.
func describeRunning(p pai.Pair, apiError string) string {
	if p.Kubernetes != "" && p.Services == "" && apiError != "" {
		return fmt.Sprintf("Kubernetes %s; which services is not known", p.Kubernetes)
	}
	return describePair(p)
}

func machineRole(m plan.Machine) string {
	if m.ControlPlane {
		return "control plane"
	}
	return "worker"
}

func machineState(m plan.Machine, apiError string) string {
	switch {
	case m.Unreachable != "":
		return "unreachable: " + firstLine(m.Unreachable)
	case m.Node == nil && apiError != "":
		return "not known"
	case m.Node == nil:
		return "no node"
	case !m.Node.Ready:
		return "not ready"
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

func sortedServices(services map[string]plan.Installed) []string {
	names := make([]string, 0, len(services))
	for name := range services {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

func orNone(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
