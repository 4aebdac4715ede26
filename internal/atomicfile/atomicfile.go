// Package atomicfile writes files that appear whole or not at all, also after
// a crash of the host: it writes beside the place of the file, syncs, renames
// the new file to its place, and syncs the directory.
package atomicfile

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Prefix begins the names of files that are not complete.
const Prefix = ".pai-tmp."

// staleAfter is when the next write of a file removes the incomplete files of
// processes that were killed.
const staleAfter = time.Hour

// Write replaces a file.
func Write(path string, data []byte, mode fs.FileMode) error {
	return WriteFrom(path, mode, func(w io.Writer) error { _, err := w.Write(data); return err })
}

// WriteFrom replaces a file by what write produces. If write fails, the file
// stays as it is.
func WriteFrom(path string, mode fs.FileMode, write func(io.Writer) error) error {
	s, err := Stage(path, mode, write)
	if err != nil {
		return err
	}
	defer s.Discard()
	return s.Commit()
}

// Create makes a new file. It returns fs.ErrExist if the file exists.
func Create(path string, data []byte, mode fs.FileMode) error {
	s, err := Stage(path, mode, func(w io.Writer) error { _, err := w.Write(data); return err })
	if err != nil {
		return err
	}
	defer s.Discard()
	if err := os.Link(s.temporary, path); err != nil {
		return err
	}
	return syncPath(filepath.Dir(path))
}

// Staged is a complete file that is not in its place yet.
type Staged struct{ path, temporary string }

// Stage writes a file beside its place. Commit or Discard must follow.
func Stage(path string, mode fs.FileMode, write func(io.Writer) error) (*Staged, error) {
	s := &Staged{path: path}
	err := s.write(mode, write)
	if err == nil {
		err = syncPath(s.temporary)
	}
	if err != nil {
		s.Discard()
		return nil, err
	}
	return s, nil
}

func (s *Staged) write(mode fs.FileMode, write func(io.Writer) error) error {
	pattern := incomplete(s.path)
	removeStale(filepath.Join(filepath.Dir(s.path), pattern))
	file, err := os.CreateTemp(filepath.Dir(s.path), pattern)
	if err != nil {
		return err
	}
	s.temporary = file.Name()
	return errors.Join(write(file), file.Chmod(mode), file.Close())
}

// incomplete is the pattern of the names of incomplete files of a path.
func incomplete(path string) string { return Prefix + filepath.Base(path) + ".*" }

// RemoveIncomplete removes every incomplete file of a path, however new. Call it
// only while nothing else can write the path, for example with a lock.
func RemoveIncomplete(path string) error {
	dir := filepath.Dir(path)
	found, err := os.ReadDir(dir) // the name of the directory is no pattern
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, f := range found {
		if strings.HasPrefix(f.Name(), strings.TrimSuffix(incomplete(path), "*")) {
			err = errors.Join(err, os.Remove(filepath.Join(dir, f.Name())))
		}
	}
	return err
}

func removeStale(pattern string) {
	found, _ := filepath.Glob(pattern) // an error means that the name is no pattern
	for _, f := range found {
		if info, err := os.Lstat(f); err == nil && time.Since(info.ModTime()) > staleAfter {
			os.Remove(f)
		}
	}
}

// Commit moves the file to its place and replaces what is there.
func (s *Staged) Commit() error {
	if err := os.Rename(s.temporary, s.path); err != nil {
		return err
	}
	s.temporary = ""
	return syncPath(filepath.Dir(s.path))
}

// Discard removes the file, unless it was committed.
func (s *Staged) Discard() {
	if s.temporary != "" {
		os.Remove(s.temporary)
	}
}

// syncPath waits until a file or directory is on the disk. File systems that
// cannot sync a directory are trusted to keep the order.
func syncPath(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	err = file.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		err = nil
	}
	return errors.Join(err, file.Close())
}
