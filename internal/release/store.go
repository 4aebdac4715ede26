package release

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// store has the files of a bundle: a directory, or one archive file. Nothing in
// it is trusted.
type store interface {
	// open opens a file by its name in the bundle and returns its size. Without
	// such a file the error is fs.ErrNotExist.
	open(name string) (io.ReadCloser, int64, error)
}

// blobName is the name of a blob in a bundle.
func blobName(h v1.Hash) string { return "blobs/" + h.Algorithm + "/" + h.Hex }

// readAll reads a file that is not larger than limit.
func readAll(s store, name string, limit int64) ([]byte, error) {
	f, size, err := s.open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("%s is too large: %d bytes", name, max(size, limit+1))
	}
	return data, err
}

// dirStore is a directory with the files of a bundle.
type dirStore string

// open refuses what is not a regular file: a link can leave the directory, and
// reading a pipe never ends.
func (d dirStore) open(name string) (io.ReadCloser, int64, error) {
	path := filepath.Join(string(d), filepath.FromSlash(name))
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, syscall.ELOOP) {
		return nil, 0, fmt.Errorf("%s is a link", name)
	}
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", name)
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, info.Size(), nil
}

// archiveStore is an archive file, with the place of each file in it.
type archiveStore struct {
	path  string
	files map[string]section
}

// section is the place of a file in an archive.
type section struct{ offset, size int64 }

func (a archiveStore) open(name string) (io.ReadCloser, int64, error) {
	s, ok := a.files[name]
	if !ok {
		return nil, 0, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	f, err := os.Open(a.path)
	if err != nil {
		return nil, 0, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.NewSectionReader(f, s.offset, s.size), f}, s.size, nil
}

const tarBlock = 512

// maxArchiveFiles bounds how many files an archive has. A bundle has about 60.
const maxArchiveFiles = 10_000

// scanArchive finds the files of an archive of size bytes without reading their
// content. It refuses what WriteArchive does not write: links, directories,
// other names, and duplicates.
func scanArchive(r io.ReadSeeker, size int64) (map[string]section, error) {
	files := map[string]section{}
	end := int64(0)
	tr := tar.NewReader(r)
	for {
		header, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if errors.Is(err, io.ErrUnexpectedEOF) && len(files) > 0 {
			return nil, errTruncated
		}
		if err != nil {
			return nil, fmt.Errorf("not an archive of a bundle: %w", err)
		}
		if !validName(header.Name) || header.Typeflag != tar.TypeReg || len(header.PAXRecords) > 0 {
			return nil, fmt.Errorf("entry %q is not a file of a bundle", header.Name)
		}
		if _, ok := files[header.Name]; ok {
			return nil, fmt.Errorf("entry %q is a duplicate", header.Name)
		}
		if len(files) == maxArchiveFiles {
			return nil, fmt.Errorf("more than %d entries", maxArchiveFiles)
		}
		at, err := r.Seek(0, io.SeekCurrent)
		if err != nil {
			return nil, fmt.Errorf("read archive: %w", err)
		}
		if header.Size > size-at {
			return nil, errTruncated
		}
		files[header.Name] = section{offset: at, size: header.Size}
		end = at + (header.Size+tarBlock-1)/tarBlock*tarBlock
	}
	if len(files) > 0 && size < end+2*tarBlock { // two empty blocks are the end of a tar
		return nil, errTruncated
	}
	if _, ok := files[indexFile]; !ok {
		return nil, fmt.Errorf("not an archive of a bundle: %s not found", indexFile)
	}
	return files, nil
}

var errTruncated = errors.New("the archive is truncated")

// validName reports whether a bundle can have a file of this name.
func validName(name string) bool {
	if hex, ok := strings.CutPrefix(name, "blobs/sha256/"); ok {
		_, err := v1.NewHash("sha256:" + hex)
		return err == nil
	}
	return name == layoutFile || name == indexFile || name == signatureFile
}
