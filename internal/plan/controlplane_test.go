package plan

import (
	"slices"
	"strings"
	"testing"

	"pai.dev/pai/internal/pai"
)

// with changes machines of an input.
func with(in Input, change func(machines map[string]*MachineState)) Input {
	in.World = in.World.clone()
	change(in.World.byName())
	return in
}

func TestSeveralControlPlanesRefuses(t *testing.T) {
	t.Parallel()
	two := twoReleases()
	three := runningSeveral(two, "v0.9", 3, "gpu-01")
	growing := grown(running(two, "v0.9", "cp-01", "gpu-01"), "gpu-01", "cp-03")
	learning := with(three, func(m map[string]*MachineState) { m["cp-03"].Member = MemberLearner })
	committed := withSnapshot(runningSeveral(two, "v0.10", 3))
	boot := func(in Input) error { _, err := Boot(in, ninePair); return err }
	hop := func(in Input) error {
		_, err := Upgrade(in, Target{Release: "v0.10", KubernetesOnly: true})
		return err
	}
	replaced := replacing(three, "cp-02", "gpu-01")
	replace := func(in Input, lost, with string) error { _, err := Replace(in, lost, with); return err }
	keys := Keys{Names: []string{"key1"}}
	for name, c := range map[string]struct {
		err      error
		code     pai.Code
		contains string
	}{
		"two":         {boot(input(bareSeveral(2), two)), pai.CodeInvalid, "2 control-plane machines"},
		"four":        {boot(input(bareSeveral(4), two)), pai.CodeInvalid, "4 control-plane machines"},
		"seven":       {boot(input(bareSeveral(7), two)), pai.CodeInvalid, "7 control-plane machines"},
		"no new pair": {boot(with(growing, func(m map[string]*MachineState) { m["cp-03"].ControlPlane = false })), pai.CodeInvalid, "2 control-plane machines"},
		"unknown membership": {boot(with(growing, func(m map[string]*MachineState) { m["gpu-01"].Member = MemberUnknown })),
			pai.CodeFailed, "unknown whether gpu-01 is a member of etcd"},
		"shrinking": {boot(with(three, func(m map[string]*MachineState) { m["cp-02"].ControlPlane, m["cp-03"].ControlPlane = false, false })),
			pai.CodeRefused, "members of etcd, and the configuration has no control plane there: cp-02, cp-03"},
		"a member outside the layout": {boot(func() Input {
			in := three
			in.World.Unconfigured.EtcdMembers = []UnconfiguredMember{{ID: "1f", Name: "old-01"}}
			return in
		}()), pai.CodeRefused, "old-01"},
		"a first boot with an unreachable one":     {boot(off(input(bareSeveral(3), two), "cp-02")), pai.CodeFailed, "cp-02 could have the only data"},
		"the only voter is lost":                   {boot(off(growing, "cp-01")), pai.CodeFailed, "cp-01 could have the only data"},
		"a hop while one is lost":                  {hop(off(three, "cp-02")), pai.CodeRefused, "cp-02 is unreachable"},
		"a hop while one of unknown state is lost": {hop(off(with(three, func(m map[string]*MachineState) { m["cp-02"].Member = MemberUnknown }), "cp-02")), pai.CodeRefused, "cp-02 is unreachable"},
		"a restart while one is lost": {boot(func() Input {
			in := off(three, "cp-02")
			in.Expected = map[string]Expected{"cp-03": {Versions: map[pai.KubernetesVersion]ExpectedVersion{"v0.9-pai": {Roles: map[Role]Digests{RoleAPIServerA: {Settings: "new"}}}}}}
			return in
		}()), pai.CodeRefused, "cluster-apiserver of cp-03 would stop"},
		"a hop before it has grown": {hop(growing), pai.CodeRefused, "has no vote in etcd"},
		"a hop before pods use the API address": {hop(func() Input { in := three; in.World.LocalEndpoints = false; return in }()),
			pai.CodeRefused, "through one machine alone"},
		"a rollback before it has grown": {func() error {
			in := with(three, func(m map[string]*MachineState) {
				m["cp-03"].Member = MemberLearner
				m["cp-01"].Roles[RoleAPIServerA] = RoleState{Link: "v0.10-pai", Running: "v0.10-pai", Emulates: "1.35"}
			})
			_, err := Rollback(in, ninePair, Target{KubernetesOnly: true})
			return err
		}(), pai.CodeRefused, "cp-03 has no vote in etcd"},
		"a rollback past the commit":    {func() error { _, err := Rollback(committed, ninePair, Target{}); return err }(), pai.CodeRefused, "a rollback from a snapshot"},
		"a restore":                     {func() error { _, err := Recover(input(bareSeveral(3), two)); return err }(), pai.CodeRefused, "a restore from a backup is not supported yet with 3"},
		"a rotation of keys":            {func() error { _, err := RotateKey(three.World, keys, "20261129"); return err }(), pai.CodeRefused, "a change of the keys"},
		"a removal of a key":            {func() error { _, err := RemoveKey(three.World, keys, "key1"); return err }(), pai.CodeRefused, "a change of the keys"},
		"maintenance beside a lost one": {func() error { _, err := Maintain(off(three, "cp-03").World, "cp-02"); return err }(), pai.CodeRefused, "cp-02 must stay in service, because cp-03 is unreachable"},
		"maintenance beside another":    {func() error { _, err := Maintain(awayFrom(three, "cp-03").World, "cp-02"); return err }(), pai.CodeRefused, "because cp-03 is in maintenance"},
		"maintenance beside a stopped one": {func() error {
			in := with(three, func(m map[string]*MachineState) { m["cp-01"].Roles[RoleEtcdA] = RoleState{Link: "v0.9-pai"} })
			_, err := Maintain(in.World, "cp-02")
			return err
		}(), pai.CodeRefused, "because cp-01 runs no etcd"},
		"maintenance beside one without API server": {func() error {
			in := with(three, func(m map[string]*MachineState) { m["cp-01"].Roles[RoleAPIServerA] = RoleState{Link: "v0.9-pai"} })
			_, err := Maintain(in.World, "cp-02")
			return err
		}(), pai.CodeRefused, "because cp-01 runs no API server"},
		"maintenance beside one without scheduler": {func() error {
			in := with(three, func(m map[string]*MachineState) { m["cp-01"].Roles[RoleScheduler] = RoleState{Link: "v0.9-pai"} })
			_, err := Maintain(in.World, "cp-02")
			return err
		}(), pai.CodeRefused, "because cp-01 runs no controller manager or no scheduler"},
		"maintenance of a lost one beside another": {func() error { _, err := Maintain(off(awayFrom(three, "cp-03"), "cp-02").World, "cp-02"); return err }(),
			pai.CodeRefused, "because cp-03 is in maintenance"},
		"maintenance in a hop": {func() error {
			in := with(three, func(m map[string]*MachineState) {
				m["cp-02"].Roles[RoleAPIServerA] = RoleState{Link: "v0.10-pai", Running: "v0.10-pai", Emulates: "1.35"}
			})
			_, err := Maintain(in.World, "cp-02")
			return err
		}(), pai.CodeRefused, "between two versions"},
		"maintenance before pods use the API address": {func() error {
			in := three
			in.World.LocalEndpoints = false
			_, err := Maintain(in.World, "cp-02")
			return err
		}(), pai.CodeRefused, "through one machine only"},
		"maintenance of a voter while another learns": {func() error { _, err := Maintain(learning.World, "cp-01"); return err }(), pai.CodeRefused, "because cp-03 has no vote in etcd"},
		"a hop during maintenance":                    {hop(awayFrom(three, "cp-02")), pai.CodeRefused, "cp-02 is unreachable: it is in maintenance"},
		"a rollback during maintenance": {func() error {
			in := with(awayFrom(three, "cp-02"), func(m map[string]*MachineState) {
				m["cp-01"].Roles[RoleAPIServerA] = RoleState{Link: "v0.10-pai", Running: "v0.10-pai", Emulates: "1.35"}
			})
			_, err := Rollback(in, ninePair, Target{KubernetesOnly: true})
			return err
		}(), pai.CodeRefused, "cp-02 is unreachable: it is in maintenance"},
		"a removal": {func() error { _, err := Remove(three, "cp-02", false); return err }(), pai.CodeRefused, "cp-02 is one of 3 control-plane machines"},
		"shrinking to one by its entries": {boot(func() Input {
			in := three
			in.World = in.After(in.World, []Step{{Kind: KindLayout, Target: "cp-02"}, {Kind: KindLayout, Target: "cp-03"}})
			in.World.Unconfigured.EtcdMembers = []UnconfiguredMember{{ID: "2", Name: "cp-02-a"}, {ID: "3", Name: "cp-03-b"}}
			return in
		}()), pai.CodeRefused, "cp-02-a, cp-03-b"},
		"a replacement in a cluster of one":       {replace(outOfLayout(running(two, "v0.9", "cp-01", "gpu-01", "gpu-02"), "gpu-02"), "gpu-02", "gpu-01"), pai.CodeRefused, "gpu-02 was the only control-plane machine"},
		"a replacement by a worker":               {replace(with(replaced, func(m map[string]*MachineState) { m["gpu-01"].ControlPlane = false }), "cp-02", "gpu-01"), pai.CodeRefused, "gpu-01 is not a control-plane machine of the layout"},
		"a replacement by a machine that is lost": {replace(off(replaced, "gpu-01"), "cp-02", "gpu-01"), pai.CodeFailed, "gpu-01 is unreachable"},
		"a replacement by one in maintenance":     {replace(awayFrom(replaced, "gpu-01"), "cp-02", "gpu-01"), pai.CodeRefused, "gpu-01 is in maintenance"},
		"a replacement while another is lost":     {replace(off(replaced, "cp-03"), "cp-02", "gpu-01"), pai.CodeRefused, "cp-02 cannot be replaced, because cp-03 is unreachable"},
		"a replacement while another is stopped": {replace(with(replaced, func(m map[string]*MachineState) { m["cp-03"].Roles[RoleEtcdA] = RoleState{Link: "v0.9-pai"} }), "cp-02", "gpu-01"),
			pai.CodeRefused, "because cp-03 runs no etcd"},
		"a replacement in a hop": {replace(with(replaced, func(m map[string]*MachineState) {
			m["cp-01"].Roles[RoleAPIServerA] = RoleState{Link: "v0.10-pai", Running: "v0.10-pai", Emulates: "1.35"}
		}), "cp-02", "gpu-01"), pai.CodeRefused, "between two versions"},
		"a replacement of a machine that nothing knows": {replace(replaced, "cp-09", "gpu-01"), pai.CodeNotFound, "not found"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.err == nil || pai.CodeOf(c.err) != c.code || !strings.Contains(c.err.Error(), c.contains) || pai.NextOf(c.err) == "" {
				t.Errorf("got %v (code %s, next %q), want code %s and %q", c.err, pai.CodeOf(c.err), pai.NextOf(c.err), c.code, c.contains)
			}
		})
	}
}

// A machine that could have the record must not look like a cluster that does not exist.
func TestUnknownControlPlane(t *testing.T) {
	t.Parallel()
	two := twoReleases()
	one, three := running(two, "v0.9", "cp-01"), runningSeveral(two, "v0.9", 3)
	for name, c := range map[string]struct {
		in      Input
		unknown bool
	}{
		"one, observed":               {one, false},
		"one, unreachable":            {off(one, "cp-01"), true},
		"three, observed":             {three, false},
		"three, one unreachable":      {off(three, "cp-01"), false},
		"three, all unreachable":      {off(off(off(three, "cp-01"), "cp-02"), "cp-03"), true},
		"new ones, one unreachable":   {off(input(bareSeveral(3), two), "cp-03"), true},
		"new ones, all are reachable": {input(bareSeveral(3), two), false},
	} {
		if got := c.in.World.UnknownControlPlane(); (got != "") != c.unknown {
			t.Errorf("%s: got %q", name, got)
		}
	}
}

// The first machine of a plan is the one that has the cluster, wherever the layout has it.
func TestFirstControlPlaneHasCluster(t *testing.T) {
	t.Parallel()
	running := map[Role]RoleState{RoleAPIServerB: {Link: "v0.9-pai", Running: "v0.9-pai"}}
	stopped := map[Role]RoleState{RoleAPIServerA: {Link: "v0.9-pai"}}
	for name, c := range map[string]struct {
		machines []MachineState
		want     string
	}{
		"new machines":                 {[]MachineState{{Name: "a"}, {Name: "b"}, {Name: "c"}}, "a b c"},
		"an API server runs":           {[]MachineState{{Name: "a", Roles: stopped, Member: MemberVoter}, {Name: "b"}, {Name: "c", Roles: running, Member: MemberVoter}}, "c a b"},
		"one was stopped":              {[]MachineState{{Name: "a", Member: MemberStopped}, {Name: "b"}, {Name: "c", Roles: stopped, Member: MemberStopped}}, "c a b"},
		"data of etcd alone":           {[]MachineState{{Name: "a"}, {Name: "b", Member: MemberStopped}, {Name: "c"}}, "b a c"},
		"unknown is not data":          {[]MachineState{{Name: "a", Member: MemberUnknown}, {Name: "b", Member: MemberStopped}, {Name: "c", Member: MemberUnknown}}, "b a c"},
		"an unreachable one":           {[]MachineState{{Name: "a", Unreachable: "x", Member: MemberVoter}, {Name: "b", Roles: running, Member: MemberVoter}, {Name: "c", Member: MemberVoter}}, "b a c"},
		"learners come after voters":   {[]MachineState{{Name: "a", Member: MemberLearner}, {Name: "b", Roles: running, Member: MemberVoter}, {Name: "c", Member: MemberVoter}}, "b c a"},
		"a worker is not one of these": {[]MachineState{{Name: "a"}}, "a"},
	} {
		w := World{Machines: []MachineState{{Name: "gpu-01"}}}
		for _, m := range c.machines {
			m.ControlPlane = true
			w.Machines = append(w.Machines, m)
		}
		var names []string
		for _, m := range controlPlanes(w) {
			names = append(names, m.Name)
		}
		if got := strings.Join(names, " "); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

// An unreachable worker whose pods run on keeps the address that they use, and nothing else
// waits for it. One without a node has no pods.
func TestUnreachableWorkerDelaysEndpointsOnly(t *testing.T) {
	t.Parallel()
	growing := grown(running(twoReleases(), "v0.9", "cp-01", "gpu-01", "gpu-02"), "gpu-01", "cp-03")
	nodeless := with(growing, func(m map[string]*MachineState) { m["gpu-02"].Node = nil })
	for name, c := range map[string]struct {
		in     Input
		delays bool
	}{"a node": {off(growing, "gpu-02"), true}, "no node": {off(nodeless, "gpu-02"), false}} {
		p, err := Boot(c.in, ninePair)
		if err != nil {
			t.Fatal(err)
		}
		after := c.in.After(c.in.World, doWithout(p, "gpu-02"))
		if after.LocalEndpoints == c.delays {
			t.Errorf("%s: pods use the API address: %v", name, after.LocalEndpoints)
		}
		if n := after.voters(); n != 3 || after.Machines[indexOf(after, "cp-03")].Roles[RoleKubelet].Running == "" {
			t.Errorf("%s: %d voters; want a cluster that has grown", name, n)
		}
	}
}

// Whichever machine does not join, the first one serves, and etcd keeps one voter.
func TestFailedJoinLeavesFirstMachineServing(t *testing.T) {
	t.Parallel()
	in := input(bareSeveral(3, "gpu-01"), twoReleases())
	p, err := Boot(in, ninePair)
	if err != nil {
		t.Fatal(err)
	}
	for _, failed := range []string{"cp-02", "cp-03"} {
		after := in.After(in.World, doWithout(p, failed))
		worker := after.Machines[indexOf(after, "gpu-01")]
		if after.voters() != 1 || !after.Machines[0].runsAPIServer() || worker.Roles[RoleKubelet].Running == "" {
			t.Errorf("without %s: %d voters, API server %v, kubelet of a worker %+v", failed, after.voters(), after.Machines[0].runsAPIServer(), worker.Roles[RoleKubelet])
		}
		if after.Current.Kubernetes != "" {
			t.Errorf("without %s: recorded as %s", failed, after.Current.Kubernetes)
		}
	}
}

// A vote that was killed after the first machine leaves two voters. Nothing that stops one of
// them comes before the rest of the vote; an API server that only starts does not wait.
func TestVoteIsCompletedBeforeVotersStop(t *testing.T) {
	t.Parallel()
	in := grown(running(twoReleases(), "v0.9", "cp-01", "gpu-01"), "gpu-01", "cp-03")
	p, err := Boot(in, ninePair)
	in = partly(t, in, p, err, "kubernetes/v0.9-pai/machine/cp-03/etcd")
	in = with(in, func(m map[string]*MachineState) { m["gpu-01"].Member = MemberVoter })
	for _, e := range in.Expected {
		e.Versions["v0.9-pai"].Roles[RoleEtcdB] = Digests{Settings: "new"}
		e.Versions["v0.9-pai"].Roles[RoleEtcdA] = Digests{Settings: "new"}
		e.Versions["v0.9-pai"].Roles[RoleAPIServerA] = Digests{Settings: "new"}
	}
	p, err = Boot(in, ninePair)
	if err != nil {
		t.Fatal(err)
	}
	voted, stops := false, 0
	for _, s := range p.Steps {
		voted = voted || s.Kind == KindVoters
		if s.StopsControlPlane() && s.Target != "cp-03" {
			if stops++; !voted || !slices.Contains(s.After, "kubernetes/v0.9-pai/cluster/voters") {
				t.Errorf("%s waits for %v, not for the vote", s.ID, s.After)
			}
		}
	}
	if stops < 3 {
		t.Errorf("%d steps stop a voter; want etcd of two machines, and an API server", stops)
	}
	if after := doWithout(p, "cp-03"); slices.ContainsFunc(after, Step.StopsControlPlane) {
		t.Errorf("without cp-03, a voter is stopped: %v", after)
	}
}

// Where the only etcd was stopped, it is unknown whether a new machine is a member. The etcd is
// started, nothing joins, and the next plan continues with what is known then.
func TestUnclearMachineWaitsForEtcd(t *testing.T) {
	t.Parallel()
	in := grown(running(twoReleases(), "v0.9", "cp-01", "gpu-01"), "gpu-01", "cp-03")
	cleaned := Clean(in.World, false)
	in.World = in.After(in.World, cleaned)
	in.World.APIReachable = false
	unclear := with(in, func(m map[string]*MachineState) { m["gpu-01"].Member, m["cp-03"].Member = MemberUnknown, MemberUnknown })
	p, err := Boot(unclear, ninePair)
	if err != nil {
		t.Fatal(err)
	}
	etcds := slices.DeleteFunc(slices.Clone(p.Steps), func(s Step) bool { return s.Kind != KindEtcd })
	if len(etcds) != 1 || etcds[0].Target != "cp-01" || slices.ContainsFunc(p.Steps, func(s Step) bool { return s.Kind == KindVoters || s.Kind == KindRecord }) {
		t.Errorf("got the steps %v of etcd", etcds)
	}
	if notes := strings.Join(p.Notes, "\n"); !strings.Contains(notes, "whether gpu-01 is a member") || !strings.Contains(notes, "whether cp-03 is a member") {
		t.Errorf("got the notes %q", notes)
	}
	unclear.World = unclear.After(unclear.World, p.Steps)
	known := with(unclear, func(m map[string]*MachineState) { m["gpu-01"].Member, m["cp-03"].Member = MemberNone, MemberNone })
	if p, err = Boot(alive(known), ninePair); err != nil {
		t.Fatal(err)
	}
	if after := in.After(known.World, p.Steps); after.voters() != 3 || !after.Machines[indexOf(after, "cp-03")].runsAPIServer() {
		t.Errorf("%d voters afterwards", after.voters())
	}
	if _, err := Boot(unclear, pai.Pair{Services: "v0.9", Kubernetes: "v0.10-pai"}); pai.CodeOf(err) != pai.CodeRefused && pai.CodeOf(err) != pai.CodeFailed {
		t.Errorf("a hop: got %v", err)
	}
}

// Controllers without election get it before others start, also if another machine stands for
// the cluster now.
func TestControllersElectBeforeOthersStart(t *testing.T) {
	t.Parallel()
	in := with(runningSeveral(twoReleases(), "v0.9", 3), func(m map[string]*MachineState) {
		for _, r := range []Role{RoleControllerManager, RoleScheduler} {
			m["cp-01"].Roles[r], m["cp-02"].Roles[r] = RoleState{}, RoleState{}
			m["cp-03"].Roles[r] = RoleState{Link: "v0.9-pai", Running: "v0.9-pai"}
		}
	})
	p, err := Boot(in, ninePair)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range p.Steps {
		if electing(s.Role) && s.Target != "cp-03" && !slices.Contains(s.After, "kubernetes/v0.9-pai/machine/cp-03/controller-manager") {
			t.Errorf("%s waits for %v, not for the controllers of cp-03", s.ID, s.After)
		}
	}
}
