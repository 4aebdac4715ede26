package plan

import (
	"fmt"
	"slices"
	"strings"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/release"
)

// bareSeveral returns machines before their first preparation; the first n are
// control-plane machines.
func bareSeveral(n int, workers ...string) World {
	var names []string
	for i := range n {
		names = append(names, fmt.Sprintf("cp-%02d", i+1))
	}
	w := bare(append(names, workers...)...)
	for i := range n {
		w.Machines[i].ControlPlane = true
	}
	return w
}

// runningSeveral is running for n control-plane machines.
func runningSeveral(releases []release.Manifest, name pai.Release, n int, workers ...string) Input {
	in := input(bareSeveral(n, workers...), releases)
	row, err := findRelease(releases, name)
	if err != nil {
		panic(err)
	}
	boot, err := Boot(in, pairOf(row))
	if err != nil {
		panic(err)
	}
	in.World = in.After(in.World, boot.Steps)
	return alive(in)
}

// alive is a booted cluster as it is observed later.
func alive(in Input) Input {
	in.World = in.World.clone()
	in.World.APIReachable = true
	for i := range in.World.Machines {
		if m := &in.World.Machines[i]; m.Joined {
			m.Node = &Node{Ready: true}
		}
	}
	return in
}

// grown is a cluster with one control-plane machine and workers, whose layout makes the named
// machines control-plane machines, too. One that does not exist yet is new.
func grown(in Input, names ...string) Input {
	in.World = in.World.clone()
	in.World.Machines[0].Member = MemberVoter
	for _, name := range names {
		i := slices.IndexFunc(in.World.Machines, func(m MachineState) bool { return m.Name == name })
		if i < 0 {
			i = len(in.World.Machines)
			in.World.Machines = append(in.World.Machines, MachineState{Name: name, Address: fmt.Sprintf("10.0.1.%d", i), Roles: map[Role]RoleState{}})
		}
		in.World.Machines[i].ControlPlane = true
	}
	return withSettings(in)
}

// withSettings gives the settings of machines that depend on the number of control-plane
// machines: the API proxies have all of them.
func withSettings(in Input) Input {
	in.Expected = map[string]Expected{}
	var names []string
	for _, m := range in.World.Machines {
		if m.ControlPlane {
			names = append(names, m.Name)
		}
	}
	slices.Sort(names)
	proxied := "proxy of " + strings.Join(names, ", ")
	for _, m := range in.World.Machines {
		versions := map[pai.KubernetesVersion]ExpectedVersion{}
		for _, r := range in.Releases {
			versions[r.Kubernetes.Version] = ExpectedVersion{Roles: map[Role]Digests{RoleAPIProxy: {Settings: proxied}}}
		}
		in.Expected[m.Name] = Expected{Versions: versions}
	}
	return in
}

// off makes a machine unreachable. What it is in etcd is known from another one.
func off(in Input, name string) Input {
	in.World = in.World.clone()
	for i := range in.World.Machines {
		if m := &in.World.Machines[i]; m.Name == name {
			*m = MachineState{Name: m.Name, Address: m.Address, ControlPlane: m.ControlPlane, Member: m.Member, Node: m.Node, Unreachable: "no route to host"}
		}
	}
	return in
}

// awayFrom is a cluster whose control-plane machine is in maintenance.
func awayFrom(in Input, name string) Input {
	p, err := Maintain(in.World, name)
	if err != nil {
		panic(err)
	}
	in.World = in.After(in.World, p.Steps)
	return in
}

// replacing is a cluster whose layout has a worker in the place of a control-plane machine that is
// lost.
func replacing(in Input, lost, with string) Input {
	member := machineNamed(in.World, lost).Member
	in.World = in.After(in.World, []Step{{Kind: KindLayout, Target: lost}})
	if member != MemberNone {
		in.World.Unconfigured.EtcdMembers = []UnconfiguredMember{{ID: "3", Name: lost + "-a", PeerURLs: []string{"https://10.0.0.3:2380"}, Learner: member == MemberLearner, Started: true}}
	}
	in.World.byName()[with].ControlPlane = true
	return withSettings(in)
}
