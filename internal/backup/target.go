package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"pai.dev/pai/internal/atomicfile"
	"pai.dev/pai/internal/pai"
)

// Target is where backups are. The key of an object is "<backup>/<file>".
type Target interface {
	// Put stores what write produces, whole or not at all. The error wraps
	// fs.ErrExist if the object exists.
	Put(ctx context.Context, key string, write func(io.Writer) error) error
	// Open reads an object. The error wraps fs.ErrNotExist if there is none.
	Open(ctx context.Context, key string) (io.ReadCloser, error)
	// List returns the keys of all objects, sorted. An object that is not complete has
	// the key "<backup>/".
	List(ctx context.Context) ([]string, error)
	// Delete deletes an object, if it exists, and what an interrupted Put left of it.
	Delete(ctx context.Context, key string) error
	// String is how an operator names the target.
	String() string
}

// MaxObject is the size of the largest object of a backup, in bytes.
const MaxObject = maxContent

// OpenTarget returns the directory that an operator names. Package s3 opens a bucket.
func OpenTarget(name string) (Target, error) {
	scheme, _, found := strings.Cut(name, "://")
	switch {
	case name == "":
		return nil, pai.Errorf(pai.CodeUsage, "name the directory of the backups, or s3://BUCKET/PREFIX", "no directory of backups is given")
	case found:
		return nil, pai.Errorf(pai.CodeUsage, "name a directory, or s3://BUCKET/PREFIX", "backups in %s:// are not supported", scheme)
	}
	dir, err := filepath.Abs(name)
	if err != nil {
		return nil, err
	}
	return directory(dir), nil
}

// directory is a Target in a directory of this host.
type directory string

func (d directory) String() string { return string(d) }

// file is the path of an object. Links in the directory are not followed.
func (d directory) file(key string) (string, error) {
	name, file, err := SplitKey(key)
	if err != nil {
		return "", err
	}
	for _, p := range []string{filepath.Join(string(d), name), filepath.Join(string(d), name, file)} {
		info, err := os.Lstat(p)
		if err == nil && info.Mode()&fs.ModeSymlink != 0 {
			return "", fmt.Errorf("%s is a link", p)
		}
	}
	return filepath.Join(string(d), name, file), nil
}

// SplitKey returns the backup and the file of a key. It refuses every key that no backup
// has, so that a key leads nowhere else.
func SplitKey(key string) (name, file string, err error) {
	name, file, ok := strings.Cut(key, "/")
	if !ok || !isName(name) || !isObject(file) {
		return "", "", fmt.Errorf("%q is not the key of a backup", key)
	}
	return name, file, nil
}

func isObject(file string) bool {
	return slices.Contains([]string{contentFile, signatureFile, manifestFile}, file)
}

func (d directory) Put(_ context.Context, key string, write func(io.Writer) error) error {
	file, err := d.file(key)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	if _, err := os.Lstat(file); err == nil {
		return fmt.Errorf("%s: %w", file, fs.ErrExist)
	}
	return atomicfile.WriteFrom(file, 0o600, write)
}

func (d directory) Open(_ context.Context, key string) (io.ReadCloser, error) {
	file, err := d.file(key)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(err, f.Close(), fmt.Errorf("%s is not a file", file))
	}
	return f, nil
}

func (d directory) List(context.Context) ([]string, error) {
	names, err := os.ReadDir(string(d))
	if err != nil {
		return nil, fmt.Errorf("list the backups: %w", err)
	}
	var keys []string
	for _, n := range names {
		if !n.IsDir() || !isName(n.Name()) {
			continue
		}
		files, err := os.ReadDir(filepath.Join(string(d), n.Name()))
		if err != nil {
			return nil, fmt.Errorf("list the backups: %w", err)
		}
		for _, f := range files {
			switch {
			case isObject(f.Name()):
				keys = append(keys, path.Join(n.Name(), f.Name()))
			case strings.HasPrefix(f.Name(), atomicfile.Prefix):
				keys = append(keys, n.Name()+"/")
			}
		}
	}
	return keys, nil
}

func (d directory) Delete(_ context.Context, key string) error {
	file, err := d.file(key)
	if err != nil {
		return err
	}
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := atomicfile.RemoveIncomplete(file); err != nil {
		return err
	}
	_ = os.Remove(filepath.Dir(file)) // fails while it has other files
	return nil
}
