package etcdtest

import (
	"context"
	"maps"
	"slices"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// Range answers from Keys.
func (s *Server) Range(ctx context.Context, r *pb.RangeRequest) (*pb.RangeResponse, error) {
	if err := s.wait(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	answer := &pb.RangeResponse{Header: s.header()}
	for _, key := range slices.Sorted(maps.Keys(s.Keys)) {
		if key == string(r.Key) || (key > string(r.Key) && key < string(r.RangeEnd)) {
			kv := &mvccpb.KeyValue{Key: []byte(key), CreateRevision: 1, ModRevision: 2}
			if !r.KeysOnly {
				kv.Value = []byte(s.Keys[key])
			}
			answer.Kvs = append(answer.Kvs, kv)
		}
	}
	return answer, nil
}

// write counts a write, which fails if the server is dead.
func (s *Server) write() error {
	if s.DiesAt > 0 && s.Writes+1 >= s.DiesAt {
		return rpctypes.ErrGRPCStopped
	}
	s.Writes++
	return nil
}

// Put changes Keys.
func (s *Server) Put(_ context.Context, r *pb.PutRequest) (*pb.PutResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.write(); err != nil {
		return nil, err
	}
	s.Keys[string(r.Key)] = string(r.Value)
	return &pb.PutResponse{Header: s.header()}, nil
}

// DeleteRange deletes one of Keys.
func (s *Server) DeleteRange(_ context.Context, r *pb.DeleteRangeRequest) (*pb.DeleteRangeResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.write(); err != nil {
		return nil, err
	}
	delete(s.Keys, string(r.Key))
	return &pb.DeleteRangeResponse{Header: s.header()}, nil
}
