package run

import (
	"context"
	"errors"
	"io/fs"
	"sync"
	"sync/atomic"
)

// faultyStore fails the operations that fail names.
type faultyStore struct {
	Store
	mu     sync.Mutex
	fail   map[string]error // by the operation's name
	leaves int              // bytes that a failed AppendFile appends
}

func (s *faultyStore) set(op string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail == nil {
		s.fail = map[string]error{}
	}
	s.fail[op] = err
}

func (s *faultyStore) fault(op string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fail[op]
}

func (s *faultyStore) WriteFile(ctx context.Context, path string, data []byte, mode fs.FileMode) error {
	if err := s.fault("WriteFile"); err != nil {
		return err
	}
	return s.Store.WriteFile(ctx, path, data, mode)
}

// AppendFile's fault leaves a part of the data.
func (s *faultyStore) AppendFile(ctx context.Context, path string, data []byte) error {
	if err := s.fault("AppendFile"); err != nil {
		return errors.Join(err, s.Store.AppendFile(ctx, path, data[:s.torn(len(data))]))
	}
	return s.Store.AppendFile(ctx, path, data)
}

// torn is how much of n bytes a fault of AppendFile leaves.
func (s *faultyStore) torn(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return min(s.leaves, n)
}

// CreateFile's fault "CreateFile after" comes after the file was created.
func (s *faultyStore) CreateFile(ctx context.Context, path string, data []byte, mode fs.FileMode) error {
	if err := s.fault("CreateFile"); err != nil {
		return err
	}
	return errors.Join(s.Store.CreateFile(ctx, path, data, mode), s.fault("CreateFile after"))
}

func (s *faultyStore) Remove(ctx context.Context, path string) error {
	if err := s.fault("Remove"); err != nil {
		return err
	}
	return s.Store.Remove(ctx, path)
}

func (s *faultyStore) ReadDir(ctx context.Context, path string) ([]string, error) {
	if err := s.fault("ReadDir"); err != nil {
		return nil, err
	}
	return s.Store.ReadDir(ctx, path)
}

// countingStore counts what is read and written.
type countingStore struct {
	Store
	reads, writes, bytes atomic.Int64
}

func (s *countingStore) wrote(data []byte) {
	s.writes.Add(1)
	s.bytes.Add(int64(len(data)))
}

func (s *countingStore) ReadFile(ctx context.Context, path string) ([]byte, error) {
	s.reads.Add(1)
	return s.Store.ReadFile(ctx, path)
}

func (s *countingStore) WriteFile(ctx context.Context, path string, data []byte, mode fs.FileMode) error {
	s.wrote(data)
	return s.Store.WriteFile(ctx, path, data, mode)
}

func (s *countingStore) CreateFile(ctx context.Context, path string, data []byte, mode fs.FileMode) error {
	s.wrote(data)
	return s.Store.CreateFile(ctx, path, data, mode)
}

func (s *countingStore) AppendFile(ctx context.Context, path string, data []byte) error {
	s.wrote(data)
	return s.Store.AppendFile(ctx, path, data)
}
