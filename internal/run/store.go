package run

import (
	"context"
	"io/fs"

	"pai.dev/pai/internal/layout"
)

// Dir is the directory of journal and lock on a control-plane machine. On its
// disk they survive an API outage and the restore of a snapshot.
const Dir = layout.StateDir

// Store stores files; machine.Host implements it. WriteFile and CreateFile are
// atomic. CreateFile fails with fs.ErrExist if the file exists, and ReadFile
// with fs.ErrNotExist if it does not. ReadDir returns an absent directory as empty.
type Store interface {
	ReadFile(ctx context.Context, path string) ([]byte, error)
	WriteFile(ctx context.Context, path string, data []byte, mode fs.FileMode) error
	CreateFile(ctx context.Context, path string, data []byte, mode fs.FileMode) error
	Remove(ctx context.Context, path string) error
	ReadDir(ctx context.Context, path string) ([]string, error)
}
