package rest

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

// Access is what a client needs to reach a REST server: it holds a secret.
type Access struct {
	// URLs are the server's addresses, all equal.
	URLs []string `json:"urls"`
	// CA is the PEM certificate that signed the server's.
	CA    []byte `json:"ca"`
	User  string `json:"user"`
	Token string `json:"token"`
}

// AccessFile is the name of the file in a cluster's state folder.
const AccessFile = "rest.json"

// Save writes the access to a file that only its owner can read, whole or not
// at all.
func (a Access) Save(path string) error {
	data, err := json.MarshalIndent(a, "", "  ")
	if err != nil {
		return fmt.Errorf("encode access to the REST server: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("save access to the REST server: %w", err)
	}
	if err := atomicfile.Write(path, append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("save access to the REST server: %w", err)
	}
	return nil
}

// LoadAccess reads what Save wrote; fs.ErrNotExist is in the error's chain
// when there is nothing.
func LoadAccess(path string) (Access, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Access{}, pai.Errorf(pai.CodeFailed, "start the services with: paictl service start",
			"nothing here knows how to reach the REST server: %w", err)
	}
	if err != nil {
		return Access{}, fmt.Errorf("read access to the REST server: %w", err)
	}
	var a Access
	if err := json.Unmarshal(data, &a); err != nil {
		return Access{}, pai.Errorf(pai.CodeFailed, "delete the file and run: paictl service start", "read %s: %w", path, err)
	}
	return a, nil
}
