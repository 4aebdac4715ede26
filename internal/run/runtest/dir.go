// Package runtest holds what tests of the journal, the lock and whatever else
// is kept in a run.Store share.
package runtest

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Dir keeps its files under a folder, as atomically as machines do, and
// honours contexts as they do.
type Dir string

// At is where a path of the store lies on this host.
func (d Dir) At(path string) string { return filepath.Join(string(d), path) }

func (d Dir) ReadFile(ctx context.Context, path string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return os.ReadFile(d.At(path))
}

func (d Dir) WriteFile(ctx context.Context, path string, data []byte, mode fs.FileMode) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	temporary, err := d.temporary(path, data, mode)
	if err != nil {
		return err
	}
	return os.Rename(temporary, d.At(path))
}

func (d Dir) CreateFile(ctx context.Context, path string, data []byte, mode fs.FileMode) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	temporary, err := d.temporary(path, data, mode)
	if err != nil {
		return err
	}
	defer os.Remove(temporary)
	return os.Link(temporary, d.At(path)) // fails where there is a file
}

func (d Dir) temporary(path string, data []byte, mode fs.FileMode) (string, error) {
	dir := filepath.Dir(d.At(path))
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

func (d Dir) Remove(ctx context.Context, path string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := os.Remove(d.At(path)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (d Dir) ReadDir(ctx context.Context, path string) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(d.At(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}
