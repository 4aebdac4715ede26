package run

import (
	"context"
	"io/fs"

	"pai.dev/pai/internal/layout"
)

// Dir is the folder of a control-plane machine that journal and lock are kept
// in, so that they outlive an API that is away and a snapshot that is restored.
const Dir = layout.StateDir

// Store keeps files; a machine.Host is one. WriteFile and CreateFile are
// atomic, CreateFile fails with fs.ErrExist where there is a file, ReadFile
// with fs.ErrNotExist where there is none, and ReadDir lists an absent folder
// as empty.
type Store interface {
	ReadFile(ctx context.Context, path string) ([]byte, error)
	WriteFile(ctx context.Context, path string, data []byte, mode fs.FileMode) error
	CreateFile(ctx context.Context, path string, data []byte, mode fs.FileMode) error
	Remove(ctx context.Context, path string) error
	ReadDir(ctx context.Context, path string) ([]string, error)
}
