package run

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// dirStore keeps its files under a folder, as atomically as machines do, and
// honours contexts as they do.
type dirStore string

func (d dirStore) at(path string) string { return filepath.Join(string(d), path) }

func (d dirStore) ReadFile(ctx context.Context, path string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return os.ReadFile(d.at(path))
}

func (d dirStore) WriteFile(ctx context.Context, path string, data []byte, mode fs.FileMode) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	temporary, err := d.temporary(path, data, mode)
	if err != nil {
		return err
	}
	return os.Rename(temporary, d.at(path))
}

func (d dirStore) CreateFile(ctx context.Context, path string, data []byte, mode fs.FileMode) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	temporary, err := d.temporary(path, data, mode)
	if err != nil {
		return err
	}
	defer os.Remove(temporary)
	return os.Link(temporary, d.at(path)) // fails where there is a file
}

func (d dirStore) temporary(path string, data []byte, mode fs.FileMode) (string, error) {
	dir := filepath.Dir(d.at(path))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	f, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return "", err
	}
	_, err = f.Write(data)
	return f.Name(), errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
}

func (d dirStore) Remove(ctx context.Context, path string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := os.Remove(d.at(path)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (d dirStore) ReadDir(ctx context.Context, path string) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(d.at(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

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

// CreateFile's fault "CreateFile after" comes when the file is there already.
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
