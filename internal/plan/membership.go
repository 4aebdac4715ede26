package plan

// Membership is what a control-plane machine is in etcd where the cluster has several of
// them. It is empty in a cluster with one.
type Membership string

// The memberships. A machine whose membership is unknown never joins: it could already be a
// member, and a second one would count against the quorum.
const (
	MemberNone    Membership = ""        // not a member
	MemberLearner Membership = "learner" // a member without a vote
	MemberVoter   Membership = "voter"
	// MemberStopped is a machine with the data of a member while no etcd runs that could be
	// asked. It is started with its data, and never joins.
	MemberStopped Membership = "stopped"
	MemberUnknown Membership = "unknown" // it could not be read
)

// promoted gives each learner on a control-plane machine its vote.
func promoted(w *World, _ Step, _ Input) {
	for i := range w.Machines {
		if m := &w.Machines[i]; m.ControlPlane && m.Member == MemberLearner {
			m.Member = MemberVoter
		}
	}
}
