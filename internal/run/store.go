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
// atomic. AppendFile adds data, at most 1 MiB, to the end of a file; it creates
// the file, for its owner only. When it returns nil, the data is on disk; after an
// error, any part of it can be. CreateFile fails with fs.ErrExist if the file exists, and ReadFile
// with fs.ErrNotExist if it does not. ReadDir returns an absent directory as empty.
type Store interface {
	ReadFile(ctx context.Context, path string) ([]byte, error)
	WriteFile(ctx context.Context, path string, data []byte, mode fs.FileMode) error
	CreateFile(ctx context.Context, path string, data []byte, mode fs.FileMode) error
	AppendFile(ctx context.Context, path string, data []byte) error
	Remove(ctx context.Context, path string) error
	ReadDir(ctx context.Context, path string) ([]string, error)
}

// maxAppend bounds what the journal appends in one call.
const maxAppend = 256 << 10
