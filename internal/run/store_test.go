package run

import (
	"context"
	"errors"
	"io/fs"
	"sync"
)

// faultyStore fails the operations that fail names.
type faultyStore struct {
	Store
	mu   sync.Mutex
	fail map[string]error // by the operation's name
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
