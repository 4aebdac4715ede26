package observe

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/etcd"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/release"
)

// readUnconfigured reads what the control-plane machine knows about machines and
// etcd members that are not in the layout. It needs no API.
func readUnconfigured(ctx context.Context, src Source, w *plan.World) {
	list, u := src.Config.Layout.MachineList, &w.Unconfigured
	host := src.Hosts[src.seed()]
	if host == nil {
		u.MachinesError, u.EtcdError = "the control-plane machine is unreachable", "the control-plane machine is unreachable"
		return
	}
	ctx, cancel := context.WithTimeout(ctx, machineTimeout)
	defer cancel()
	if data, err := host.ReadFile(ctx, hostsFile); err != nil {
		u.MachinesError = fmt.Sprintf("read %s on %s: %v", hostsFile, host.Name(), err)
	} else {
		u.Machines = unconfiguredMachines(string(data), list)
	}
	withData := etcdData(ctx, src)
	if w.ClusterID == "" && !etcdRuns(w.Machines) {
		u.EtcdMembers = []plan.UnconfiguredMember{} // no cluster yet
		addMemberships(w, src, nil, errNoCluster, withData)
		return
	}
	members, err := readMembers(ctx, src)
	addMemberships(w, src, members, err, withData)
	if err != nil {
		u.EtcdError = err.Error()
		return
	}
	u.EtcdMembers = unconfiguredMembers(members, list)
}

// errNoCluster is why there are no members to read before a first boot.
var errNoCluster = errors.New("no etcd runs")

func etcdRuns(machines []plan.MachineState) bool {
	return slices.ContainsFunc(machines, func(m plan.MachineState) bool {
		return m.Roles[plan.RoleEtcdA].Running != "" || m.Roles[plan.RoleEtcdB].Running != ""
	})
}

// PAI marks its lines in the hosts file.
const (
	hostsFile = "/etc/hosts"
	hostsMark = "# pai"
)

// unconfiguredMachines returns the machines that PAI named in a hosts file and
// that are not in the layout.
func unconfiguredMachines(hosts string, list []config.Machine) []plan.UnconfiguredMachine {
	found := []plan.UnconfiguredMachine{}
	inLayout := make(map[string]bool, len(list))
	for _, m := range list {
		inLayout[m.Hostname] = true
	}
	for line := range strings.Lines(hosts) {
		entry, byPAI := strings.CutSuffix(strings.TrimSpace(line), hostsMark)
		f := strings.Fields(entry)
		if !byPAI || len(f) != 2 || f[1] == layout.APIName {
			continue
		}
		if !inLayout[f[1]] {
			found = append(found, plan.UnconfiguredMachine{Name: f[1], Address: f[0]})
		}
	}
	return found
}

// unconfiguredMembers returns the etcd members that are in no slot of a
// control-plane machine. A member that never started has no name.
func unconfiguredMembers(members etcd.Members, list []config.Machine) []plan.UnconfiguredMember {
	found := []plan.UnconfiguredMember{}
	for _, e := range members {
		if !slices.ContainsFunc(list, func(m config.Machine) bool { return m.IsControlPlane() && inSlotOf(e, m) }) {
			found = append(found, plan.UnconfiguredMember{ID: fmt.Sprintf("%x", e.ID), Name: e.Name, PeerURLs: e.Peers, Learner: e.Learner, Started: e.Name != ""})
		}
	}
	return found
}

func inSlotOf(e etcd.Member, m config.Machine) bool {
	return slices.ContainsFunc(layout.Slots(), func(s layout.Slot) bool {
		return slices.Equal(e.Peers, []string{s.PeerURL(m.HostIP)}) && (e.Name == "" || e.Name == s.Member(m.Hostname))
	})
}

func unconfiguredNode(n *corev1.Node) plan.UnconfiguredNode {
	found := plan.UnconfiguredNode{Name: n.Name, Kubelet: n.Status.NodeInfo.KubeletVersion, Ready: nodeReady(n)}
	for _, a := range n.Status.Addresses {
		if a.Type == corev1.NodeInternalIP {
			found.Address = a.Address
		}
	}
	return found
}

// unconfiguredServices returns the installed services that are neither in the
// release of the configuration nor in the one that was deployed last. During an
// upgrade, a service can also be of the newer release that it was applied from.
// The result is unknown without the services of these releases, as for a frozen
// release without a bundle on this host.
func unconfiguredServices(src Source, w plan.World) []plan.UnconfiguredService {
	at := slices.IndexFunc(src.Releases, func(r release.Manifest) bool { return r.Metadata.Name.Compare(src.Config.Release()) == 0 })
	if at < 0 {
		return nil
	}
	configured := src.Releases[at].Services.Version
	found := []plan.UnconfiguredService{}
	for _, name := range slices.Sorted(maps.Keys(w.Services)) {
		s := w.Services[name]
		releases := []pai.ServicesVersion{configured, w.RecordedServices}
		if configured.Less(s.Release) {
			releases = append(releases, s.Release)
		}
		if hasService(src.Releases, releases, name) {
			continue
		}
		if unknownServices(src.Releases, releases) {
			return nil
		}
		found = append(found, plan.UnconfiguredService{Name: name, Installed: s})
	}
	return found
}

// hasService reports whether one of the versions of the services has a service.
func hasService(known []release.Manifest, versions []pai.ServicesVersion, name string) bool {
	return slices.ContainsFunc(known, func(r release.Manifest) bool {
		return slices.ContainsFunc(versions, func(v pai.ServicesVersion) bool { return r.Services.Version.Compare(v) == 0 }) &&
			slices.ContainsFunc(r.ServiceList, func(p release.ServicePin) bool { return p.Name == name })
	})
}

// unknownServices reports whether one of the versions of the services is known by
// name only.
func unknownServices(known []release.Manifest, versions []pai.ServicesVersion) bool {
	return slices.ContainsFunc(known, func(r release.Manifest) bool {
		return r.Frozen() && !r.HasPins() &&
			slices.ContainsFunc(versions, func(v pai.ServicesVersion) bool { return r.Services.Version.Compare(v) == 0 })
	})
}

// withoutVolumes leaves out the directories with the state of services, which
// have the names of the services.
func withoutVolumes(paths []string, known []release.Manifest) []string {
	return slices.DeleteFunc(paths, func(p string) bool {
		name, inState := strings.CutPrefix(p, layout.StateDir+"/")
		return inState && slices.ContainsFunc(known, func(r release.Manifest) bool {
			return slices.ContainsFunc(r.ServiceList, func(s release.ServicePin) bool { return s.Name == name })
		})
	})
}
