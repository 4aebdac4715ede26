package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/pai"
)

// Unconfigured is what was observed and is not in the configuration. A nil list
// is unknown, and an empty one has nothing. Nodes and Services are unknown during
// an API outage; the others come from the control-plane machine.
type Unconfigured struct {
	Nodes       []UnconfiguredNode    `json:"nodes"`
	Machines    []UnconfiguredMachine `json:"machines"`
	EtcdMembers []UnconfiguredMember  `json:"etcdMembers"`
	Services    []UnconfiguredService `json:"services"`
	// Maintained names machines with a record of a maintenance.
	Maintained []string `json:"maintained,omitempty"`
	// MachinesError and EtcdError are why a list is unknown.
	MachinesError string `json:"machinesError,omitempty"`
	EtcdError     string `json:"etcdError,omitempty"`
}

// UnconfiguredNode is a node of a machine that is not in the layout.
type UnconfiguredNode struct {
	Name    string `json:"name"`
	Address string `json:"address,omitempty"`
	Kubelet string `json:"kubelet"` // upstream version, "v1.36.3"
	Ready   bool   `json:"ready"`
}

// UnconfiguredMachine is a machine that PAI named in /etc/hosts of the
// control-plane machine, and that is not in the layout.
type UnconfiguredMachine struct {
	Name    string `json:"name"`
	Address string `json:"address"`
}

// UnconfiguredMember is an etcd member that is in no slot of a control-plane
// machine of the layout.
type UnconfiguredMember struct {
	ID       string   `json:"id"` // hexadecimal, as etcdctl takes it
	Name     string   `json:"name,omitempty"`
	PeerURLs []string `json:"peerUrls"`
	Learner  bool     `json:"learner"`
	Started  bool     `json:"started"`
}

// UnconfiguredService is an installed service that no release of the
// configuration has.
type UnconfiguredService struct {
	Name string `json:"name"`
	Installed
}

// HasService reports whether an installed service is not in the configuration.
func (u Unconfigured) HasService(name string) bool {
	return slices.ContainsFunc(u.Services, func(s UnconfiguredService) bool { return s.Name == name })
}

func (n UnconfiguredNode) String() string {
	state := "not ready"
	if n.Ready {
		state = "ready"
	}
	return fmt.Sprintf("%s, kubelet %s, %s", cmp.Or(n.Address, "no address"), cmp.Or(n.Kubelet, "unknown"), state)
}

// ofPAI reports whether the name is one that PAI gives to the member of a machine.
func (m UnconfiguredMember) ofPAI() bool {
	return slices.ContainsFunc(layout.Slots(), func(s layout.Slot) bool { return strings.HasSuffix(m.Name, s.Member("")) })
}

func (m UnconfiguredMember) String() string {
	kind, state := "voter", "started"
	if m.Learner {
		kind = "learner"
	}
	if !m.Started {
		state = "not started"
	}
	return fmt.Sprintf("%s, ID %s, %s, %s", strings.Join(m.PeerURLs, " "), m.ID, kind, state)
}

// UnknownUnconfigured lists what could not be observed, each with the reason. Before the
// first boot there is nothing to observe.
func (w World) UnknownUnconfigured() []string {
	u, api := w.Unconfigured, cmp.Or(w.APIError, "not observed")
	if w.Current.Kubernetes == "" && w.UnknownControlPlane() == "" {
		return nil
	}
	var unknown []string
	for _, l := range []struct {
		known     bool
		what, why string
	}{
		{u.Nodes != nil, "nodes", api},
		{u.Machines != nil, "machines", cmp.Or(u.MachinesError, "not observed")},
		{u.EtcdMembers != nil, "etcd members", cmp.Or(u.EtcdError, "not observed")},
		{u.Services != nil, "services", api},
	} {
		if !l.known {
			unknown = append(unknown, l.what+" ("+l.why+")")
		}
	}
	return unknown
}

// jobsOutsideLayout names the jobs that run on unconfigured nodes, with the node.
// No step has such a node as its target, so the guard asks about none of them.
func (w World) jobsOutsideLayout() []string {
	var found []string
	for _, j := range w.Running() {
		for _, m := range j.Machines() {
			if slices.ContainsFunc(w.Unconfigured.Nodes, func(n UnconfiguredNode) bool { return n.Name == m }) {
				found = append(found, j.String()+" on "+m)
			}
		}
	}
	return found
}

// unknownOutsideLayout names the machines that are not in the configuration and can run jobs
// of a cluster whose API server is unavailable; empty if there is none.
func (w World) unknownOutsideLayout() string {
	u := w.Unconfigured
	switch {
	case w.APIReachable || w.Current.Kubernetes == "":
		return ""
	case u.Machines == nil:
		return "their names are unknown (" + cmp.Or(u.MachinesError, "not observed") + ")"
	}
	var names []string
	for _, m := range u.Machines {
		names = append(names, m.Name+" ("+m.Address+")")
	}
	return strings.Join(names, ", ")
}

// checkUnconfiguredNodes refuses an upgrade whose newest API server would not
// serve the kubelet of an unconfigured node: no step of a plan upgrades that
// kubelet. A version that PAI cannot read counts as too old.
func (u *upgrade) checkUnconfiguredNodes() error {
	if len(u.versions) == 0 {
		return nil
	}
	newest := u.versions[len(u.versions)-1]
	upstream := u.pins[newest][programKubernetes]
	var names, nodes []string
	for _, n := range u.world.Unconfigured.Nodes {
		if !ServesKubelet(upstream, n.Kubelet) {
			names, nodes = append(names, n.Name), append(nodes, fmt.Sprintf("%s (kubelet %q)", n.Name, n.Kubelet))
		}
	}
	if len(nodes) == 0 {
		return nil
	}
	return pai.Errorf(pai.CodeRefused, "add each machine to the layout, or remove it from the cluster; for the first, run: paictl machine remove "+names[0],
		"API server %s of Kubernetes %s does not support the kubelets of nodes that are not in the configuration: %s", upstream, newest, strings.Join(nodes, ", "))
}

// ServesKubelet reports whether an API server supports a kubelet, both by their
// upstream versions. What is not known is not supported.
func ServesKubelet(apiServer, kubelet string) bool {
	a, errA := upstreamMinor(apiServer)
	k, errK := upstreamMinor(kubelet)
	return errA == nil && errK == nil && a-k <= nodeSkew
}

// kubeletIsNewer reports whether a kubelet is of a newer minor than an API server, both
// by their upstream versions. An API server supports none.
func kubeletIsNewer(apiServer, kubelet string) bool {
	a, errA := upstreamMinor(apiServer)
	k, errK := upstreamMinor(kubelet)
	return errA == nil && errK == nil && a < k
}
