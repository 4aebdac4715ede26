package etcdtest

import (
	"context"
	"slices"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"pai.dev/pai/internal/layout"
)

// Node is one member of a Server, with what only this member reports.
type Node struct {
	*Server
	ID      uint64
	Cluster uint64
	Term    uint64
	Applied uint64 // 0 is what the server has
	Down    bool   // it refuses every request
	Ill     bool   // it refuses what needs a quorum
}

// ServeNode starts a member of the server and connects a slot of a host with it.
func (s *Server) ServeNode(t testing.TB, h *Host, p PKI, slot layout.Slot, n *Node) {
	t.Helper()
	n.Server = s
	s.mu.Lock()
	s.nodes = append(s.nodes, n)
	s.mu.Unlock()
	address := serve(t, p, n)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.Ports[slot.EtcdClientPort] = address
}

// List is the list of the members.
func (s *Server) List() []*pb.Member {
	s.mu.Lock()
	defer s.mu.Unlock()
	var members []*pb.Member
	for _, m := range s.Members {
		members = append(members, &pb.Member{ID: m.ID, Name: m.Name, PeerURLs: m.PeerURLs, IsLearner: m.IsLearner})
	}
	return members
}

// Add adds a voter that starts a cluster, and returns its ID.
func (s *Server) Add(name, peer string) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := uint64(100 + len(s.Members) + len(s.Removed))
	s.Members, s.Leader = append(s.Members, &pb.Member{ID: id, Name: name, PeerURLs: []string{peer}}), id
	return id
}

func (n *Node) stopped() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.Down
}

// Set changes the node while it serves.
func (n *Node) Set(change func(n *Node)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change(n)
}

// learner reports whether the member does not vote; a member that the list lacks does not.
func (n *Node) learner() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, m := range n.Members {
		if m.ID == n.ID {
			return m.IsLearner
		}
	}
	return true
}

// quorum reports whether more than half of the voters run. Only nodes do.
func (n *Node) quorum() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	voters, running := 0, 0
	for _, m := range n.Members {
		if m.IsLearner {
			continue
		}
		voters++
		if slices.ContainsFunc(n.nodes, func(one *Node) bool { return one.ID == m.ID && !one.Down }) {
			running++
		}
	}
	return 2*running > voters
}

func (n *Node) refuses() error {
	switch {
	case n.stopped():
		return rpctypes.ErrGRPCStopped
	case n.Ill || !n.quorum():
		return rpctypes.ErrGRPCNoLeader
	case n.learner():
		return rpctypes.ErrGRPCNotSupportedForLearner
	}
	return nil
}

// MemberList is that of the server, unless the member cannot list the members.
func (n *Node) MemberList(ctx context.Context, r *pb.MemberListRequest) (*pb.MemberListResponse, error) {
	if err := n.refuses(); err != nil {
		return nil, err
	}
	return n.Server.MemberList(ctx, r)
}

// Range is that of the server, unless the member cannot read.
func (n *Node) Range(ctx context.Context, r *pb.RangeRequest) (*pb.RangeResponse, error) {
	if err := n.refuses(); err != nil {
		return nil, err
	}
	return n.Server.Range(ctx, r)
}

// Status is that of the server, for this member.
func (n *Node) Status(ctx context.Context, r *pb.StatusRequest) (*pb.StatusResponse, error) {
	if n.stopped() {
		return nil, rpctypes.ErrGRPCStopped
	}
	answer, err := n.Server.Status(ctx, r)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	answer.Header.MemberId, answer.Header.ClusterId, answer.RaftTerm = n.ID, n.Cluster, n.Term
	if n.Applied != 0 {
		answer.RaftAppliedIndex = n.Applied
	}
	return answer, nil
}
