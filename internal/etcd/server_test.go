package etcd

import (
	"context"
	"crypto/tls"
	"net"
	"slices"
	"sync"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"pai.dev/pai/internal/layout"
)

// testServer answers like the etcds of one cluster, all on one port.
type testServer struct {
	pb.UnimplementedClusterServer
	pb.UnimplementedMaintenanceServer
	pb.UnimplementedKVServer

	mu      sync.Mutex
	asked   uint64 // the ID of the member that is asked
	leader  uint64
	members []*pb.Member
	alarms  []pb.AlarmType
	hangs   bool     // as without a quorum
	alone   bool     // there is no leader, and what needs one fails
	refuses int      // how many removals and promotions are refused
	removed []uint64 // members
	moved   []uint64 // the new leaders
}

// serve starts the server and connects both slots of a host with it.
func (s *testServer) serve(t *testing.T, h *testHost, p testPKI) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
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
	go server.Serve(listener)
	t.Cleanup(server.Stop)
	for _, slot := range layout.Slots() {
		h.ports[slot.EtcdClientPort] = listener.Addr().String()
	}
}

func (s *testServer) header() *pb.ResponseHeader {
	return &pb.ResponseHeader{MemberId: s.asked, Revision: 7}
}

func (s *testServer) wait(ctx context.Context) error {
	if s.hangs {
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

func (s *testServer) MemberList(ctx context.Context, r *pb.MemberListRequest) (*pb.MemberListResponse, error) {
	if s.alone && r.Linearizable {
		return nil, rpctypes.ErrGRPCNoLeader
	}
	if err := s.wait(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return &pb.MemberListResponse{Header: s.header(), Members: slices.Clone(s.members)}, nil
}

func (s *testServer) MemberRemove(_ context.Context, r *pb.MemberRemoveRequest) (*pb.MemberRemoveResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuses > 0 {
		s.refuses--
		return nil, rpctypes.ErrGRPCUnhealthy
	}
	s.removed = append(s.removed, r.ID)
	s.members = slices.DeleteFunc(s.members, func(m *pb.Member) bool { return m.ID == r.ID })
	return &pb.MemberRemoveResponse{Header: s.header(), Members: slices.Clone(s.members)}, nil
}

func (s *testServer) MemberAdd(_ context.Context, r *pb.MemberAddRequest) (*pb.MemberAddResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := &pb.Member{ID: uint64(100 + len(s.members)), PeerURLs: r.PeerURLs, IsLearner: r.IsLearner}
	s.members = append(s.members, one)
	return &pb.MemberAddResponse{Header: s.header(), Member: one, Members: slices.Clone(s.members)}, nil
}

func (s *testServer) MemberPromote(_ context.Context, r *pb.MemberPromoteRequest) (*pb.MemberPromoteResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuses > 0 {
		s.refuses--
		return nil, rpctypes.ErrGRPCLearnerNotReady
	}
	for _, m := range s.members {
		if m.ID == r.ID {
			m.IsLearner = false
		}
	}
	return &pb.MemberPromoteResponse{Header: s.header()}, nil
}

func (s *testServer) MoveLeader(_ context.Context, r *pb.MoveLeaderRequest) (*pb.MoveLeaderResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leader = r.TargetID
	s.moved = append(s.moved, r.TargetID)
	return &pb.MoveLeaderResponse{Header: s.header()}, nil
}

func (s *testServer) Status(context.Context, *pb.StatusRequest) (*pb.StatusResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &pb.StatusResponse{Header: s.header(), Version: "3.6.8", DbSize: 20480, DbSizeInUse: 16384, DbSizeQuota: 2 << 30,
		Leader: s.leader, RaftIndex: 9, RaftAppliedIndex: 8, Errors: []string{"slow"}}, nil
}

func (s *testServer) Alarm(context.Context, *pb.AlarmRequest) (*pb.AlarmResponse, error) {
	r := &pb.AlarmResponse{Header: s.header()}
	for _, a := range s.alarms {
		r.Alarms = append(r.Alarms, &pb.AlarmMember{MemberID: 1, Alarm: a})
	}
	return r, nil
}

func (s *testServer) Range(ctx context.Context, r *pb.RangeRequest) (*pb.RangeResponse, error) {
	return &pb.RangeResponse{Header: s.header()}, s.wait(ctx)
}
