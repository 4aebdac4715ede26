// Package runtest has a run.Store for tests of the journal, the lock, and other
// users of a store.
package runtest

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"pai.dev/pai/internal/atomicfile"
)

// Dir stores files in a directory, atomically like a machine, and returns the error
// of a context that has ended.
type Dir string

// At is the place of a path of the store on this host.
func (d Dir) At(path string) string { return filepath.Join(string(d), path) }

func (d Dir) ReadFile(ctx context.Context, path string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return os.ReadFile(d.At(path))
}

func (d Dir) WriteFile(ctx context.Context, path string, data []byte, mode fs.FileMode) error {
	if err := d.prepare(ctx, path); err != nil {
		return err
	}
	return atomicfile.Write(d.At(path), data, mode)
}

func (d Dir) CreateFile(ctx context.Context, path string, data []byte, mode fs.FileMode) error {
	if err := d.prepare(ctx, path); err != nil {
		return err
	}
	return atomicfile.Create(d.At(path), data, mode)
}

func (d Dir) AppendFile(ctx context.Context, path string, data []byte) error {
	if err := d.prepare(ctx, path); err != nil {
		return err
	}
	file, err := os.OpenFile(d.At(path), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	return errors.Join(err, file.Close())
}

func (d Dir) prepare(ctx context.Context, path string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return os.MkdirAll(filepath.Dir(d.At(path)), 0o700)
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
