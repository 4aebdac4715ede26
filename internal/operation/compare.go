package operation

import (
	"context"
	"fmt"
	"os"
	"slices"

	"pai.dev/pai/internal/cluster"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/session"
)

// comparing is a goal that compares what runs with what should run. Leads is the
// Kubernetes version that the goal leads to; it is empty if Kubernetes stays.
type comparing interface {
	Leads(s *session.Session, w plan.World) pai.KubernetesVersion
}

func (g bootup) Leads(*session.Session, plan.World) pai.KubernetesVersion { return g.pair.Kubernetes }

func (g toTarget) Leads(s *session.Session, _ plan.World) pai.KubernetesVersion {
	m, err := s.Manifest(g.target.Release)
	if err != nil || (g.target.ServicesOnly && !g.target.KubernetesOnly) {
		return "" // planning refuses an unknown release
	}
	return m.Kubernetes.Version
}

// compare adds what the machines should have to the input of a plan: for each
// version on the way to the goal.
func compare(ctx context.Context, s *session.Session, goal Goal, in *plan.Input) error {
	g, ok := goal.(comparing)
	if !ok || !slices.ContainsFunc(in.World.Machines, hasAnything) {
		return nil
	}
	programs, err := os.MkdirTemp("", "pai-compare-")
	if err != nil {
		return fmt.Errorf("compare the machines with the release: %w", err)
	}
	defer os.RemoveAll(programs)
	active := in.World.Active(machineOf(goal))
	kubeadms := &kubeadms{dir: programs, done: map[string]error{}}
	in.Expected, in.Manifests = map[string]plan.Expected{}, map[pai.KubernetesVersion]plan.Manifests{}
	for v, name := range versionsTo(in.World.Current.Kubernetes, g.Leads(s, in.World), s) {
		deps := machineDeps(s)
		if b := s.OptionalBundle(name); b != nil {
			deps.Bundle = b
			installed, err := cluster.Installed(ctx, deps, active, v)
			if err != nil {
				return err
			}
			if !installed {
				deps.Kubeadm = kubeadms.of(b)
			}
		}
		if deps.Bundle == nil && !onControlPlane(in.World, v) {
			continue // its programs are nowhere, so nothing can be rendered
		}
		e, err := cluster.Expect(ctx, deps, active, v, in.Expected)
		if err != nil {
			return err
		}
		in.Manifests[v.Label()] = e.Manifests
		in.World = withUnknown(in.World, e.Unknown)
	}
	return nil
}

// withUnknown is the state with the machines that could not be asked as
// unreachable ones.
func withUnknown(w plan.World, unknown map[string]error) plan.World {
	w.Machines = slices.Clone(w.Machines)
	for i, m := range w.Machines {
		if err := unknown[m.Name]; err != nil {
			w.Machines[i].Unreachable = err.Error()
		}
	}
	return w
}

// hasAnything reports whether PAI has put anything on a machine.
func hasAnything(m plan.MachineState) bool {
	return m.Prepared || len(m.Programs) > 0 || len(m.Roles) > 0
}

// versionsTo are the versions after the current one up to another, or that one if
// it is the current one, with the releases that they are taken from.
func versionsTo(current, to pai.KubernetesVersion, s *session.Session) map[pai.KubernetesVersion]pai.Release {
	versions := map[pai.KubernetesVersion]pai.Release{}
	for _, m := range s.Releases {
		v := m.Kubernetes.Version
		passed := current.Less(v) && v.Less(to) && current != ""
		if _, known := versions[v]; !known && to != "" && (v.Compare(to) == 0 || passed) {
			versions[v] = m.Metadata.Name
		}
	}
	return versions
}

func onControlPlane(w plan.World, v pai.KubernetesVersion) bool {
	return slices.ContainsFunc(w.Machines, func(m plan.MachineState) bool {
		return m.ControlPlane && m.Unreachable == "" && slices.ContainsFunc(m.Programs, func(p pai.KubernetesVersion) bool { return p.Label() == v.Label() })
	})
}
