package revision

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"pai.dev/pai/internal/atomicfile"
	"pai.dev/pai/internal/pai"
)

// Base is the revision that a folder was last the same as: what its changes
// are changes of. It lies in the folder, so that copies of it know it too.
type Base struct {
	ClusterID string `json:"clusterId"`
	Revision  int    `json:"revision"`
}

// baseFile is the file's name. It starts with a dot: nobody edits it.
const baseFile = ".revision.json"

// ReadBase reads a folder's base; zero where it was never pushed or pulled.
func ReadBase(dir string) (Base, error) {
	file := filepath.Join(dir, baseFile)
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return Base{}, nil
	}
	if err != nil {
		return Base{}, fmt.Errorf("read which revision the configuration is of: %w", err)
	}
	var b Base
	if err := json.Unmarshal(data, &b); err != nil {
		return Base{}, pai.Errorf(pai.CodeFailed, "remove it, and see what the folder would change with: paictl config diff", "%s is damaged: %w", file, err)
	}
	return b, nil
}

// WriteBase records a folder's base; one that says so already is left alone.
func WriteBase(dir string, b Base) error {
	if now, err := ReadBase(dir); err == nil && now == b {
		return nil
	}
	data, err := json.Marshal(b)
	if err != nil {
		return fmt.Errorf("encode which revision the configuration is of: %w", err)
	}
	if err := atomicfile.Write(filepath.Join(dir, baseFile), data, 0o644); err != nil {
		return fmt.Errorf("record which revision the configuration is of: %w", err)
	}
	return nil
}
