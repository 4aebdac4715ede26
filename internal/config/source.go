package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"go.yaml.in/yaml/v3"

	"pai.dev/pai/internal/yamldoc"
)

// The limits of a configuration file. They are far above what a few hundred
// machines need, and low enough that no file costs more than a moment to refuse.
const (
	maxFileBytes   = 1 << 20
	maxScalarBytes = 4 << 10
	maxDepth       = 16
	maxAliases     = 256
	maxValues      = 50_000 // with aliases followed
)

// parse turns a file's bytes into its root. A nil node comes with at least one
// problem.
func parse(data []byte) (*yaml.Node, yamldoc.Problems) {
	return yamldoc.Parse(data, yamldoc.Limits{
		Bytes: maxFileBytes, Depth: maxDepth, ScalarBytes: maxScalarBytes, Values: maxValues, Aliases: maxAliases,
	})
}

// readFile reads a regular file, and no more of it than parse refuses. It never
// waits: a named pipe is refused before it is opened.
func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err == nil && !info.Mode().IsRegular() {
		return nil, errors.New("is not a regular file")
	}
	var data []byte
	if err == nil {
		data, err = readStart(path)
	}
	var pathErr *fs.PathError // its path is named by the problem
	if errors.As(err, &pathErr) {
		err = pathErr.Err
	}
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	return data, nil
}

func readStart(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxFileBytes+1))
}
