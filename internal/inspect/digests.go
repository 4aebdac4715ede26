package inspect

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"pai.dev/pai/internal/atomicfile"
)

// digests computes the sha256 of files and stores them in a cache, because the
// programs of a version have a gigabyte. A digest is known by device, inode, size,
// and both times of a file, so a running program whose file was removed has one
// as well, and no path can have the digest of another file.
type digests struct {
	file    string
	known   map[string]string
	used    map[string]bool
	changed bool
}

// maxDigests is when the cache drops what was not used this time.
const maxDigests = 2000

// settled is how old the last change of a file must be. A file that changes twice
// within one tick of the clock keeps its times.
const settled = 2 * time.Second

// readDigests reads the cache. Without a readable one, it is empty.
func readDigests(file string) *digests {
	d := &digests{file: file, used: map[string]bool{}}
	data, err := os.ReadFile(file)
	if err != nil || json.Unmarshal(data, &d.known) != nil || d.known == nil {
		d.known = map[string]string{}
	}
	return d
}

// Self is the sha256 of the running program.
func Self() (string, error) { return readDigests("").of("/proc/self/exe") }

// of is the sha256 of a regular file in hex.
func (d *digests) of(path string) (string, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe must not block
	if err != nil {
		return "", err
	}
	defer f.Close()
	before, _, err := identify(f)
	if err != nil {
		return "", err
	}
	d.used[before] = true
	if sum, found := d.known[before]; found {
		return sum, nil
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	sum := hex.EncodeToString(h.Sum(nil))
	after, changed, err := identify(f)
	if err != nil {
		return "", err
	}
	if after != before {
		return "", &fs.PathError{Op: "digest", Path: path, Err: errors.New("it changed while it was read")}
	}
	if time.Since(changed) > settled {
		d.known[after], d.changed = sum, true
	}
	return sum, nil
}

// identify is the identity of the content of a file, and when it changed last.
func identify(f *os.File) (string, time.Time, error) {
	info, err := f.Stat()
	if err != nil {
		return "", time.Time{}, err
	}
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.Mode().IsRegular() {
		return "", time.Time{}, &fs.PathError{Op: "digest", Path: f.Name(), Err: errors.New("no regular file")}
	}
	changed := time.Unix(s.Ctim.Unix())
	return fmt.Sprintf("%d %d %d %d %d", s.Dev, s.Ino, s.Size, info.ModTime().UnixNano(), changed.UnixNano()), changed, nil
}

// save writes the cache, if it changed and PAI's directory exists. Without a
// cache, digests only take longer.
func (d *digests) save() {
	if !d.changed {
		return
	}
	if len(d.known) > maxDigests {
		for key := range d.known {
			if !d.used[key] {
				delete(d.known, key)
			}
		}
	}
	if _, err := os.Stat(filepath.Dir(d.file)); err != nil {
		return
	}
	data, err := json.Marshal(d.known)
	if err == nil {
		err = atomicfile.Write(d.file, data, 0o600)
	}
	d.changed = err != nil
}
