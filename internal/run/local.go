package run

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"pai.dev/pai/internal/atomicfile"
)

// Local is the Store of this machine: a program that runs there uses the same files as
// paictl over ssh. It is the root directory, "/" or a made-up one.
type Local string

func (l Local) at(path string) string { return filepath.Join(string(l), path) }

// ReadFile reads a file.
func (l Local) ReadFile(ctx context.Context, path string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return os.ReadFile(l.at(path))
}

// WriteFile replaces a file, and creates its directory.
func (l Local) WriteFile(ctx context.Context, path string, data []byte, mode fs.FileMode) error {
	if err := l.prepare(ctx, path); err != nil {
		return err
	}
	return atomicfile.Write(l.at(path), data, mode)
}

// CreateFile creates a file, and its directory.
func (l Local) CreateFile(ctx context.Context, path string, data []byte, mode fs.FileMode) error {
	if err := l.prepare(ctx, path); err != nil {
		return err
	}
	return atomicfile.Create(l.at(path), data, mode)
}

// AppendFile adds data to the end of a file.
func (l Local) AppendFile(ctx context.Context, path string, data []byte) error {
	if err := l.prepare(ctx, path); err != nil {
		return err
	}
	file, err := os.OpenFile(l.at(path), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	return errors.Join(err, file.Sync(), file.Close())
}

func (l Local) prepare(ctx context.Context, path string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return os.MkdirAll(filepath.Dir(l.at(path)), 0o755)
}

// Remove removes a file, if it exists.
func (l Local) Remove(ctx context.Context, path string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := os.Remove(l.at(path)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// ReadDir lists the names in a directory, sorted; none if it does not exist.
func (l Local) ReadDir(ctx context.Context, path string) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(l.at(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}
