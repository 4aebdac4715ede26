// Package etcdtest is an etcd and the machine around it, for tests without an
// etcd. It may be imported by tests only.
package etcdtest

import (
	"cmp"
	"context"
	"crypto/tls"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"pai.dev/pai/internal/layout"
)

// Server answers like the etcds of one cluster, all on one port.
type Server struct {
	pb.UnimplementedClusterServer
	pb.UnimplementedMaintenanceServer
	pb.UnimplementedKVServer

	mu      sync.Mutex
	nodes   []*Node
	Asked   uint64 // the ID of the member that is asked
	Leader  uint64
	Members []*pb.Member
	Alarms  []pb.AlarmType
	Hangs   bool     // as without a quorum
	Alone   bool     // there is no leader, and what needs one fails
	Refuses int      // how many removals and promotions are refused
	Removed []uint64 // members
	Moved   []uint64 // the new leaders
	Keys    map[string]string
	Writes  int // how many there were
	DiesAt  int // the first write that fails, and all after it; 0 is never

	Version  string // of the etcd that answers; empty is 3.6.8
	Storage  string // the version whose form the data has
	Target   string // the version to which a downgrade is enabled
	Enabled  int    // how often one was
	Rewrites int    // how many requests of the status it takes until the data has another form
}

// Serve starts the server and connects both slots of a host with it.
func (s *Server) Serve(t testing.TB, h *Host, p PKI) {
	t.Helper()
	address := serve(t, p, s)
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, slot := range layout.Slots() {
		h.Ports[slot.EtcdClientPort] = address
	}
}

// services are what an etcd answers.
type services interface {
	pb.ClusterServer
	pb.MaintenanceServer
	pb.KVServer
}

// serve answers on an address until the test ends.
func serve(t testing.TB, p PKI, s services) (address string) {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	config := p.server(t)
	config.NextProtos = []string{"h2"}
	config.MinVersion = tls.VersionTLS12
	server := grpc.NewServer(grpc.Creds(credentials.NewTLS(config)))
	pb.RegisterClusterServer(server, s)
	pb.RegisterMaintenanceServer(server, s)
	pb.RegisterKVServer(server, s)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-ended; err != nil {
			t.Errorf("the made-up etcd ended: %v", err)
		}
	})
	return listener.Addr().String()
}

// Start gives the member with an address its name, as its etcd does when it
// starts.
func (s *Server) Start(name, peer string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.Members {
		if slices.Contains(m.PeerURLs, peer) {
			m.Name = name
		}
	}
}

// HasMember reports whether a member has an address.
func (s *Server) HasMember(peer string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.Members, func(m *pb.Member) bool { return slices.Contains(m.PeerURLs, peer) })
}

func (s *Server) header() *pb.ResponseHeader {
	return &pb.ResponseHeader{MemberId: s.Asked, Revision: 7}
}

func (s *Server) wait(ctx context.Context) error {
	if s.Hangs {
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

func (s *Server) MemberList(ctx context.Context, r *pb.MemberListRequest) (*pb.MemberListResponse, error) {
	if s.Alone && r.Linearizable {
		return nil, rpctypes.ErrGRPCNoLeader
	}
	if err := s.wait(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return &pb.MemberListResponse{Header: s.header(), Members: slices.Clone(s.Members)}, nil
}

func (s *Server) MemberRemove(_ context.Context, r *pb.MemberRemoveRequest) (*pb.MemberRemoveResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Refuses > 0 {
		s.Refuses--
		return nil, rpctypes.ErrGRPCUnhealthy
	}
	s.Removed = append(s.Removed, r.ID)
	s.Members = slices.DeleteFunc(s.Members, func(m *pb.Member) bool { return m.ID == r.ID })
	return &pb.MemberRemoveResponse{Header: s.header(), Members: slices.Clone(s.Members)}, nil
}

func (s *Server) MemberAdd(_ context.Context, r *pb.MemberAddRequest) (*pb.MemberAddResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := &pb.Member{ID: uint64(100 + len(s.Members) + len(s.Removed)), PeerURLs: r.PeerURLs, IsLearner: r.IsLearner}
	s.Members = append(s.Members, one)
	return &pb.MemberAddResponse{Header: s.header(), Member: one, Members: slices.Clone(s.Members)}, nil
}

func (s *Server) MemberPromote(_ context.Context, r *pb.MemberPromoteRequest) (*pb.MemberPromoteResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Refuses > 0 {
		s.Refuses--
		return nil, rpctypes.ErrGRPCLearnerNotReady
	}
	for _, m := range s.Members {
		if m.ID == r.ID {
			m.IsLearner = false
		}
	}
	return &pb.MemberPromoteResponse{Header: s.header()}, nil
}

func (s *Server) MoveLeader(_ context.Context, r *pb.MoveLeaderRequest) (*pb.MoveLeaderResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Leader = r.TargetID
	s.Moved = append(s.Moved, r.TargetID)
	return &pb.MoveLeaderResponse{Header: s.header()}, nil
}

func (s *Server) Status(context.Context, *pb.StatusRequest) (*pb.StatusResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rewrite()
	return &pb.StatusResponse{Header: s.header(), Version: cmp.Or(s.Version, "3.6.8"), DbSize: 20480, DbSizeInUse: 16384, DbSizeQuota: 2 << 30,
		StorageVersion: s.Storage, DowngradeInfo: &pb.DowngradeInfo{Enabled: s.Target != "", TargetVersion: s.Target},
		Leader: s.Leader, RaftIndex: 9, RaftAppliedIndex: 8, Errors: []string{"slow"}}, nil
}

// rewrite does what the leader of etcd does every few seconds, unless it does not
// know the version of a member.
func (s *Server) rewrite() {
	unstarted := slices.ContainsFunc(s.Members, func(m *pb.Member) bool { return m.Name == "" })
	form := cmp.Or(s.Target, s.Version)
	if unstarted || form == "" {
		return
	}
	if s.Rewrites--; s.Rewrites < 0 {
		s.Storage = form
	}
}

// Accepts reports whether a new member of a version can join: its minor and the form
// of the data must be the same or older, and no downgrade may be enabled.
func (s *Server) Accepts(minor string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Target == "" && (s.Storage == "" || strings.HasPrefix(s.Storage, minor) || s.Storage < minor)
}

func (s *Server) Downgrade(_ context.Context, r *pb.DowngradeRequest) (*pb.DowngradeResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case r.Action == pb.DowngradeRequest_CANCEL:
		s.Target = ""
	case s.Target != "":
		return nil, rpctypes.ErrGRPCDowngradeInProcess
	case r.Action == pb.DowngradeRequest_ENABLE:
		s.Target = r.Version + ".0"
		s.Enabled++
	}
	return &pb.DowngradeResponse{Header: s.header()}, nil
}

func (s *Server) Alarm(context.Context, *pb.AlarmRequest) (*pb.AlarmResponse, error) {
	r := &pb.AlarmResponse{Header: s.header()}
	for _, a := range s.Alarms {
		r.Alarms = append(r.Alarms, &pb.AlarmMember{MemberID: 1, Alarm: a})
	}
	return r, nil
}
