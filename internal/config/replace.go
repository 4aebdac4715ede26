package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"pai.dev/pai/internal/atomicfile"
)

// ReplaceFiles makes a directory hold these files of a configuration and no
// others. It copies what it replaces or removes to a directory beside it, and
// returns the name of that; empty if there was nothing to keep.
func ReplaceFiles(dir string, content map[string][]byte) (previous string, err error) {
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
		if err == nil && stays && bytes.Equal(data, wanted) {
			continue
		}
		if err == nil {
			before[name] = data
		}
		if stays {
			changed[name] = wanted
		}
	}
	if previous, err = keepPrevious(dir, before); err != nil {
		return "", err
	}
	if err := writeFiles(dir, changed); err != nil {
		return previous, err
	}
	for name := range before {
		if _, stays := content[name]; stays {
			continue
		}
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			return previous, fmt.Errorf("remove a file of the previous configuration: %w", err)
		}
	}
	return previous, nil
}

// keepPrevious copies files into a new directory beside their own, which
// appears when it is complete.
func keepPrevious(dir string, content map[string][]byte) (string, error) {
	if len(content) == 0 {
		return "", nil
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("keep the previous files: %w", err)
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), "."+filepath.Base(dir)+".former-*") // only its owner can read it
	if err != nil {
		return "", fmt.Errorf("keep the previous files beside %s: %w", dir, err)
	}
	defer os.RemoveAll(tmp) // does not exist after the rename
	for name, data := range content {
		if err := atomicfile.Write(filepath.Join(tmp, name), data, modeOf(dir, name)); err != nil {
			return "", fmt.Errorf("keep the previous %s: %w", name, err)
		}
	}
	for n := 1; ; n++ {
		previous := fmt.Sprintf("%s.former-%d", dir, n)
		if exists("", previous) {
			continue
		}
		if err := os.Rename(tmp, previous); err != nil {
			return "", fmt.Errorf("keep the previous files: %w", err)
		}
		return previous, nil
	}
}

// writeFiles writes all files beside their places first and renames them after,
// so that no reader sees a partial file and a full disk changes nothing.
func writeFiles(dir string, content map[string][]byte) error {
	var staged []*atomicfile.Staged
	defer func() {
		for _, s := range staged {
			s.Discard()
		}
	}()
	for _, name := range slices.Sorted(maps.Keys(content)) {
		write := func(w io.Writer) error { _, err := w.Write(content[name]); return err }
		s, err := atomicfile.Stage(filepath.Join(dir, name), modeOf(dir, name), write)
		if err != nil {
			return fmt.Errorf("write %s: %w", filepath.Join(dir, name), err)
		}
		staged = append(staged, s)
	}
	for _, s := range staged {
		if err := s.Commit(); err != nil {
			return fmt.Errorf("write the configuration: %w", err)
		}
	}
	return nil
}

// modeOf is the mode of a file, or of the one that it takes the place of. A new
// file is for its owner only: it can hold passwords.
func modeOf(dir, name string) os.FileMode {
	names := []string{name}
	if name == LayoutFile {
		names = append(names, ClusterFile)
	}
	for _, name := range names {
		if info, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return info.Mode().Perm()
		}
	}
	return 0o600
}
