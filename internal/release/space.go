package release

import (
	"errors"
	"fmt"
	"syscall"

	"pai.dev/pai/internal/pai"
)

// requireSpace checks that the file system of dir has free bytes for what needs
// them. If that cannot be found out, writing reports a full disk.
func requireSpace(dir string, needed int64) error {
	free, ok := freeBytes(dir)
	if ok && free < needed {
		return noSpace(dir, needed, free, nil)
	}
	return nil
}

// explainFull adds what is needed and free to the error of a full disk. Other
// errors stay as they are.
func explainFull(err error, dir string, needed int64) error {
	if !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT) {
		return err
	}
	free, _ := freeBytes(dir)
	return noSpace(dir, needed, free, err)
}

func noSpace(dir string, needed, free int64, err error) error {
	return &pai.Error{Code: pai.CodeFailed, Err: err,
		Message: fmt.Sprintf("not enough free disk space in %s: %d bytes needed, %d bytes free", dir, needed, free),
		Next:    "free disk space there, or use a directory on another disk"}
}

func freeBytes(dir string) (int64, bool) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, false
	}
	return int64(s.Bavail) * s.Bsize, true
}
