package config

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"pai.dev/pai/internal/atomicfile"
)

// ReplaceFiles makes a folder hold these files of a configuration and no others,
// and keeps what it replaces or removes in a folder beside it, whose name it
// returns; empty where there was nothing to keep.
func ReplaceFiles(dir string, content map[string][]byte) (former string, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("write the configuration: %w", err)
	}
	before, changed := map[string][]byte{}, map[string][]byte{}
	for _, name := range append(files[:], ClusterFile) {
		data, err := readFile(filepath.Join(dir, name))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", fmt.Errorf("read %s before it is replaced: %w", filepath.Join(dir, name), err)
		}
		wanted, stays := content[name]
		there := err == nil
		same := there && stays && bytes.Equal(data, wanted)
		if there && !same {
			before[name] = data
		}
		if stays && !same {
			changed[name] = wanted
		}
	}
	if len(before) > 0 {
		if former, err = keepFormer(dir, before); err != nil {
			return "", err
		}
	}
	if err := replace(dir, changed, modesIn(dir)); err != nil {
		return former, err
	}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if _, stays := content[name]; stays {
			continue
		}
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			return former, fmt.Errorf("remove what the configuration has no more: %w", err)
		}
	}
	return former, nil
}

// keepFormer copies files into a new folder beside their own. The folder
// appears whole.
func keepFormer(dir string, content map[string][]byte) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("keep the former files: %w", err)
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), "."+filepath.Base(dir)+".former-*") // only its owner may read it
	if err != nil {
		return "", fmt.Errorf("keep the former files beside %s: %w", dir, err)
	}
	defer os.RemoveAll(tmp) // is gone after the rename
	for name, data := range content {
		if err := atomicfile.Write(filepath.Join(tmp, name), data, modeOf(filepath.Join(dir, name))); err != nil {
			return "", fmt.Errorf("keep the former %s: %w", name, err)
		}
	}
	for n := 1; ; n++ {
		former := fmt.Sprintf("%s.former-%d", dir, n)
		if _, err := os.Lstat(former); err == nil {
			continue
		}
		if err := os.Rename(tmp, former); err != nil {
			return "", fmt.Errorf("keep the former files: %w", err)
		}
		return former, nil
	}
}
