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

// Base is the revision that a directory was last equal to. It is stored in the
// directory, so that copies of the directory have it too.
type Base struct {
	ClusterID string `json:"clusterId"`
	Revision  int    `json:"revision"`
}

// baseFile is the name of the file. It starts with a dot, because it is not edited.
const baseFile = ".revision.json"

// ReadBase reads the base of a directory; zero if it was never pushed or pulled.
func ReadBase(dir string) (Base, error) {
	file := filepath.Join(dir, baseFile)
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return Base{}, nil
	}
	if err != nil {
		return Base{}, fmt.Errorf("read base of the configuration: %w", err)
	}
	var b Base
	if err := json.Unmarshal(data, &b); err != nil {
		return Base{}, pai.Errorf(pai.CodeFailed, "remove the file, then see what the directory would change; run: paictl config diff", "%s is damaged: %w", file, err)
	}
	return b, nil
}

// WriteBase stores the base of a directory unless it is already stored.
func WriteBase(dir string, b Base) error {
	if now, err := ReadBase(dir); err == nil && now == b {
		return nil
	}
	data, err := json.Marshal(b)
	if err != nil {
		return fmt.Errorf("encode base of the configuration: %w", err)
	}
	if err := atomicfile.Write(filepath.Join(dir, baseFile), data, 0o644); err != nil {
		return fmt.Errorf("store base of the configuration: %w", err)
	}
	return nil
}
