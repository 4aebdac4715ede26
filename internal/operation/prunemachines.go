package operation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"pai.dev/pai/internal/cluster"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/run"
	"pai.dev/pai/internal/session"
)

// parallelPruning is how many machines are pruned in parallel.
const parallelPruning = 10

// PruneMachines removes the programs of versions that nothing needs from the named
// machines, or from all that are not off for their maintenance. It holds the lock of the cluster, except in a dry run. The
// result has each machine, also with an error.
func PruneMachines(ctx context.Context, s *session.Session, names []string, dryRun bool) (results []cluster.PrunedMachine, err error) {
	machines, err := chosenMachines(s, names)
	if err != nil {
		return nil, err
	}
	var off map[string]bool
	if len(names) == 0 {
		if off, err = OffForMaintenance(ctx, s); err != nil {
			return nil, err
		}
	}
	if dryRun {
		return pruneMachines(ctx, s, machines, off, true)
	}
	err = s.Locked(ctx, pai.VerbPruneMachines, run.LockOptions{Notify: s.Progressf}, func(ctx context.Context, _ *run.Lock) (err error) {
		results, err = pruneMachines(ctx, s, machines, off, false)
		return err
	})
	return results, err
}

// chosenMachines are the named machines of the configuration, or all.
func chosenMachines(s *session.Session, names []string) ([]string, error) {
	var all []string
	for _, m := range s.Config.Layout.MachineList {
		all = append(all, m.Hostname)
	}
	for _, name := range names {
		if !slices.Contains(all, name) {
			return nil, pai.Errorf(pai.CodeNotFound, "name one of "+strings.Join(all, ", "), "machine %q not found", name)
		}
	}
	if len(names) > 0 {
		return names, nil
	}
	return all, nil
}

func pruneMachines(ctx context.Context, s *session.Session, names []string, off map[string]bool, dryRun bool) ([]cluster.PrunedMachine, error) {
	needs, err := programNeeds(ctx, s)
	if err != nil {
		return nil, err
	}
	results := make([]cluster.PrunedMachine, len(names))
	failed := make([]error, len(names))
	var group errgroup.Group
	group.SetLimit(parallelPruning)
	for n, name := range names {
		group.Go(func() error {
			results[n] = cluster.PrunedMachine{Machine: name, Removed: []cluster.PrunedDirectory{}, Kept: []cluster.PrunedDirectory{}}
			switch h := s.Hosts[name]; {
			case h != nil:
				results[n], failed[n] = cluster.Prune(ctx, h, needs, dryRun)
			case off[name]:
				results[n].Error = leftForMaintenance
			default:
				failed[n] = errors.New("the machine is unreachable")
			}
			if failed[n] != nil {
				results[n].Error = failed[n].Error()
				failed[n] = fmt.Errorf("prune machine %q: %w", name, failed[n])
			}
			return nil
		})
	}
	_ = group.Wait() // the errors are in failed
	if err := errors.Join(failed...); err != nil {
		return results, pai.Errorf(pai.CodeFailed, "fix what the message names and run the command again; the directories that are kept are complete", "%w", err)
	}
	return results, nil
}

// programNeeds are the versions that the cluster, its configuration, and its journal
// need.
func programNeeds(ctx context.Context, s *session.Session) ([]cluster.Need, error) {
	w, err := Observe(ctx, s)
	if err != nil {
		return nil, err
	}
	if err := requireControlPlane(s, w); err != nil {
		return nil, err
	}
	if w.ClusterID != "" && w.ClusterID != s.ClusterID() {
		return nil, pai.Errorf(pai.CodeRefused, "name the right configuration with -p DIR", "the configuration is for cluster %q, and its machines run cluster %q", s.ClusterID(), w.ClusterID)
	}
	if w.Current.Kubernetes == "" {
		return nil, pai.Errorf(pai.CodeRefused, "to remove all programs of a cleaned cluster, run: paictl cluster k8s-clean --delete-data",
			"no Kubernetes runs, so it is unknown which programs are needed")
	}
	journal, err := s.Journal()
	if err != nil {
		return nil, err
	}
	search := journalNeeds{rollbacks: newRollbackSearches()}
	if err := journal.Newest(ctx, search.add); err != nil {
		return nil, err
	}
	return search.needs(w.Current.Kubernetes, s.Config.Pair().Kubernetes), nil
}

// journalNeeds reads from the journal which versions a resume, a staged upgrade, or a
// rollback needs.
type journalNeeds struct {
	newest    *pai.Operation
	staged    *pai.Operation // with no other operation after it
	past      bool           // an operation that is not a stage was seen
	rollbacks *rollbackSearches
}

// add takes the operations, newest first, until it returns true.
func (n *journalNeeds) add(op pai.Operation) bool {
	if op.Verb == pai.VerbStage && !n.past && n.staged == nil {
		n.staged = &op
	}
	if !op.Verb.LeavesNothingPartial() {
		n.past = true
		if n.newest == nil {
			n.newest = &op
		}
	}
	return n.rollbacks.add(op)
}

// needs are the ranges of versions, for the version that the cluster runs and the one
// that its configuration names.
func (n *journalNeeds) needs(current, configured pai.KubernetesVersion) []cluster.Need {
	needs := []cluster.Need{{From: current.Label(), To: current.Label(), Reason: "the cluster runs this version", AnyBuild: true}}
	span := func(reason string, versions ...pai.KubernetesVersion) {
		versions = slices.DeleteFunc(versions, func(v pai.KubernetesVersion) bool { return v == "" })
		if len(versions) > 0 {
			order := func(a, b pai.KubernetesVersion) int { return a.Compare(b) }
			needs = append(needs, cluster.Need{From: slices.MinFunc(versions, order).Label(), To: slices.MaxFunc(versions, order).Label(), Reason: reason})
		}
	}
	if configured.Compare(current) != 0 {
		span("the configuration names this version", configured)
	}
	if op := n.newest; op != nil && op.Unfinished() {
		span(fmt.Sprintf("operation %s (%s) is unfinished", op.ID, op.Verb), op.From.Kubernetes, op.To.Kubernetes, current)
	}
	if op := n.staged; op != nil {
		span("staged by operation "+op.ID, op.To.Kubernetes)
	}
	// What moved Kubernetes last: an upgrade of both parts is one of these, too.
	kubernetes := n.rollbacks.of(plan.Target{KubernetesOnly: true})
	if to, err := kubernetes.versions(); err == nil && to.Kubernetes.Compare(current) != 0 {
		span(fmt.Sprintf("a rollback of operation %s needs this version", kubernetes.last.ID), to.Kubernetes, current)
		needs[len(needs)-1].Except = current.Label()
	}
	return needs
}
