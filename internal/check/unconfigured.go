package check

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"pai.dev/pai/internal/plan"
)

// unconfiguredChecks find what runs without being in the configuration.
func unconfiguredChecks() []Check {
	return []Check{
		{"node-unconfigured", "every node is a machine of the layout", Upgrade, onCluster(unconfiguredNodes)},
		{"machine-unconfigured", "every machine that PAI prepared is in the layout", Upgrade, onCluster(unconfiguredMachines)},
		{"machine-files", "files in the directories of PAI that PAI did not write", standaloneOnly, onMachines(foreignFiles)},
		{"etcd-members", "every etcd member is on a control-plane machine of the layout", Upgrade, onCluster(unconfiguredMembers)},
		{"service-unconfigured", "every installed service is in a release of the configuration", Upgrade, onCluster(unconfiguredServices)},
	}
}

// errUnknown is why a list of plan.Unconfigured is unknown.
func errUnknown(why string) error { return errors.New(cmp.Or(why, "not observed")) }

func unconfiguredNodes(_ context.Context, w *world) ([]Result, error) {
	nodes := w.World.Unconfigured.Nodes
	if nodes == nil {
		return nil, errUnknown(w.World.APIError)
	}
	target := ""
	if v := upstreamOf(w.Releases)[w.Pair.Kubernetes]; v != nil {
		target = "v" + v.String()
	}
	var all []Result
	for _, n := range nodes {
		all = append(all, unconfiguredNode(n, target))
	}
	return orOkay(all, "every node is a machine of the layout"), nil
}

// unconfiguredNode: no operation upgrades the kubelet of the node, so it must fit
// the API server of the target.
func unconfiguredNode(n plan.UnconfiguredNode, target string) Result {
	fix := "add the machine to the layout, or remove it from the cluster; run: paictl machine remove " + n.Name
	if !plan.ServesKubelet(target, n.Kubelet) {
		return failed(n.Name, fix, "the layout has no such machine, so its kubelet %s stays, which is too old for API server %s (%s)", cmp.Or(n.Kubelet, "unknown"), cmp.Or(target, "unknown"), n)
	}
	return warning(n.Name, fix, "the layout has no such machine, so PAI neither upgrades nor watches it (%s)", n)
}

func unconfiguredMachines(_ context.Context, w *world) ([]Result, error) {
	machines := w.World.Unconfigured.Machines
	if machines == nil {
		return nil, errUnknown(w.World.Unconfigured.MachinesError)
	}
	var all []Result
	fix := func(name string) string {
		return "add the machine to the layout, or remove what the cluster has of it; run: paictl machine remove " + name
	}
	for _, m := range machines {
		all = append(all, warning(m.Name, fix(m.Name), "PAI prepared the cluster for a machine (%s) that the layout does not have; it might still run", m.Address))
	}
	for _, name := range w.World.Unconfigured.Maintained {
		if !slices.ContainsFunc(machines, func(m plan.UnconfiguredMachine) bool { return m.Name == name }) {
			all = append(all, warning(name, fix(name), "a machine that the layout does not have is recorded as in maintenance; its removal might be unfinished"))
		}
	}
	return orOkay(all, "every machine that PAI prepared is in the layout"), nil
}

// maxFiles is how many files of one machine are named.
const maxFiles = 10

// foreignFiles is informational: PAI leaves these files alone.
func foreignFiles(m observedMachine) Result {
	files := m.state.Foreign
	switch {
	case files == nil:
		return unknownf(m.Hostname, "the machine did not report the files in the directories of PAI")
	case len(files) == 0:
		return okay(m.Hostname, "none")
	case len(files) > maxFiles:
		return okay(m.Hostname, "left alone: %s, and %d more", strings.Join(files[:maxFiles], ", "), len(files)-maxFiles)
	default:
		return okay(m.Hostname, "left alone: %s", strings.Join(files, ", "))
	}
}

func unconfiguredMembers(_ context.Context, w *world) ([]Result, error) {
	members := w.World.Unconfigured.EtcdMembers
	if members == nil {
		return nil, errUnknown(w.World.Unconfigured.EtcdError)
	}
	var all []Result
	for _, m := range members {
		all = append(all, unconfiguredMember(m))
	}
	return orOkay(all, "every etcd member is on a control-plane machine of the layout"), nil
}

// unconfiguredMember: a foreign member changes the quorum, and PAI removes no
// member that it did not add.
func unconfiguredMember(m plan.UnconfiguredMember) Result {
	danger := "it counts for the quorum: if it stops, etcd can refuse every write"
	if m.Learner {
		danger = "etcd allows one learner, so the handover of an upgrade cannot add its own"
	}
	return failed(cmp.Or(m.Name, m.ID), "if the member is not needed, remove it; on the control-plane machine, run: etcdctl member remove "+m.ID,
		"no control-plane machine of the layout has this member (%s); %s; PAI never removes it", m, danger)
}

func unconfiguredServices(_ context.Context, w *world) ([]Result, error) {
	services := w.World.Unconfigured.Services
	if services == nil && w.World.APIReachable {
		return []Result{warning("", "no action needed; to know it, import the bundle of release "+string(w.Config.Release())+", or build it",
			"the services of release %s, which the configuration names, are unknown on this host", w.Config.Release())}, nil
	}
	if services == nil {
		return nil, errUnknown(w.World.APIError)
	}
	var all []Result
	for _, s := range services {
		state := "ready"
		if !s.Ready {
			state = "not ready: " + s.Message
		}
		all = append(all, warning(s.Name, "to delete it and keep its data, run: paictl service delete "+s.Name,
			"no release of the configuration has this service (release %s, %s); an upgrade of the services, and paictl service start, stop it", cmp.Or(string(s.Release), "unknown"), state))
	}
	return orOkay(all, "every installed service is in a release of the configuration"), nil
}
