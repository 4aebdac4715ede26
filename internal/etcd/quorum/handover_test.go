package quorum

import "testing"

// A handover that was killed leaves two voters on the only machine with an etcd: the step that
// completes it must not be refused, and there is no other machine whose quorum it could cost.
func TestInterruptedHandoverCanContinue(t *testing.T) {
	t.Parallel()
	s := State{Members: []Member{{ID: 1, Name: "cp-1-a", Machine: "cp-1", Unhealthy: "stopped"}, {ID: 2, Name: "cp-1-b", Machine: "cp-1"}}}
	if err := s.CanStop("cp-1"); err != nil {
		t.Error(err)
	}
	s.Members = append(s.Members, Member{ID: 3, Name: "cp-2-a", Machine: "cp-2", Unhealthy: "stopped"})
	if err := s.CanStop("cp-1"); err == nil {
		t.Error("beside another voter that is ill, got no error")
	}
}
