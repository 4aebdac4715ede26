package inspect

import (
	"bytes"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"pai.dev/pai/internal/layout"
)

// otherPKI lists the certificates, keys, and kubeconfigs of another Kubernetes. PAI marks
// its own before it makes them; v0.10 and older left no mark, but a copy of the authority.
func (i *inspection) otherPKI() ([]string, error) {
	if marked, err := i.exists(layout.PKIMark); err != nil || marked {
		return nil, err
	}
	authority, err := i.read(layout.PKIDir + "/ca.crt")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	own, ownErr := i.read(layout.CAFile)
	if ownErr != nil && !errors.Is(ownErr, fs.ErrNotExist) {
		return nil, ownErr
	}
	if err == nil && ownErr == nil && bytes.Equal(authority, own) {
		return nil, nil
	}
	var found []string
	for _, pattern := range []string{layout.PKIDir + "/*.crt", layout.PKIDir + "/*.key", layout.PKIDir + "/*/*.crt", layout.PKIDir + "/*/*.key", layout.KubernetesDir + "/*.conf"} {
		files, err := filepath.Glob(i.at(pattern))
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			found = append(found, filepath.Join("/", strings.TrimPrefix(file, i.Root)))
		}
	}
	slices.Sort(found)
	return found, nil
}
