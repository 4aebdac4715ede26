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

// Access is how a client reaches a REST server. It has a secret.
type Access struct {
	// URLs are equivalent addresses of the server.
	URLs []string `json:"urls"`
	// CA is the certificate, in PEM, that signed the server's certificate.
	CA    []byte `json:"ca"`
	User  string `json:"user"`
	Token string `json:"token"`
}

// AccessFile is the name of the file in a cluster's state directory.
const AccessFile = "rest.json"

// Save writes the access atomically to a file that only its owner can read.
func (a Access) Save(path string) error {
	data, err := json.MarshalIndent(a, "", "  ")
	if err != nil {
		return fmt.Errorf("encode access to the REST server: %w", err)
	}
	if err = os.MkdirAll(filepath.Dir(path), 0o700); err == nil {
		err = atomicfile.Write(path, append(data, '\n'), 0o600)
	}
	if err != nil {
		return fmt.Errorf("save access to the REST server: %w", err)
	}
	return nil
}

// LoadAccess reads what Save wrote. The error wraps fs.ErrNotExist if the file
// does not exist.
func LoadAccess(path string) (Access, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Access{}, pai.Errorf(pai.CodeFailed, "start the services; run: paictl service start",
			"access to the REST server not found: %w", err)
	}
	if err != nil {
		return Access{}, fmt.Errorf("read access to the REST server: %w", err)
	}
	var a Access
	if err := json.Unmarshal(data, &a); err != nil {
		return Access{}, pai.Errorf(pai.CodeFailed, "delete the file; run: paictl service start", "read %s: %w", path, err)
	}
	return a, nil
}
