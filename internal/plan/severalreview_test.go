package plan

import (
	"slices"
	"strings"
	"testing"

	"pai.dev/pai/internal/pai"
)

// A restore beside machines that still serve would be a second cluster with the same keys.
func TestRestoreBesideALivingControlPlaneIsRefused(t *testing.T) {
	t.Parallel()
	for name, roles := range map[string]map[Role]RoleState{
		"etcd":       {RoleEtcdA: {Link: "v0.11-pai", Running: "v0.11-pai"}},
		"API server": {RoleAPIServerB: {Link: "v0.11-pai", Running: "v0.11-pai"}},
		"nothing":    {RoleKubelet: {Link: "v0.11-pai", Running: "v0.11-pai"}},
	} {
		w := World{Machines: []MachineState{{Name: "cp-01", ControlPlane: true}, {Name: "cp-02", Roles: roles}}}
		err := w.refuseBesideControlPlane()
		if name == "nothing" {
			if err != nil {
				t.Errorf("a worker: %v", err)
			}
			continue
		}
		if pai.CodeOf(err) != pai.CodeRefused || !strings.Contains(err.Error(), "cp-02 runs a control plane") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// A lost machine keeps the others from nothing, and no machine waits for it.
func TestCleanWithoutALostControlPlane(t *testing.T) {
	t.Parallel()
	in := off(runningSeveral(twoReleases(), "v0.9", 3), "cp-03")
	for _, s := range Clean(in.World, true) {
		if slices.Contains(s.After, "clean/machine/cp-03") {
			t.Errorf("%s waits for the lost machine", s.ID)
		}
	}
}

// No voter is stopped while another machine learns, or while the loss of one voter more is the
// loss of the quorum, so a growth that was interrupted ends before other changes of the voters.
func TestVotesComeBeforeVotersStop(t *testing.T) {
	t.Parallel()
	for name, members := range map[string]map[string]Membership{
		"one of two learns":     {"cp-01": MemberVoter, "cp-02": MemberVoter, "cp-03": MemberVoter, "cp-04": MemberLearner},
		"a learner was removed": {"cp-01": MemberVoter, "cp-02": MemberVoter, "cp-03": MemberVoter, "cp-04": MemberVoter},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			votesComeBeforeVotersStop(t, members)
		})
	}
}

func votesComeBeforeVotersStop(t *testing.T, members map[string]Membership) {
	in := runningSeveral(twoReleases(), "v0.9", 3)
	in = grown(in, "cp-04", "cp-05")
	for i := range in.World.Machines {
		in.World.Machines[i].Member = members[in.World.Machines[i].Name]
	}
	for name, e := range in.Expected { // the API servers get other settings
		for v, version := range e.Versions {
			version.Roles[RoleAPIServerA] = Digests{Settings: "other"}
			e.Versions[v] = version
		}
		in.Expected[name] = e
	}
	p, err := Boot(in, ninePair)
	if err != nil {
		t.Fatal(err)
	}
	vote := slices.IndexFunc(p.Steps, func(s Step) bool { return s.Kind == KindVoters })
	stops := slices.IndexFunc(p.Steps, Step.StopsControlPlane)
	if vote < 0 || stops < 0 || stops < vote {
		t.Errorf("the vote is step %d, and step %d is the first that stops a part of the control plane:\n%v", vote, stops, p.Steps)
	}
}
