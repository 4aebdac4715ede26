// Package filelock makes processes of one host wait for each other. A lock
// ends with its process at the latest.
package filelock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"pai.dev/pai/internal/poll"
)

// timeout ends a wait that the caller gave no deadline. The holder builds
// releases or boots machines, which takes minutes to an hour.
const timeout = 24 * time.Hour

// Lock takes the exclusive lock that a file stands for, and makes the file and
// its directory if they do not exist. While another process holds the lock,
// Lock waits until ctx ends; waiting is called once then.
func Lock(ctx context.Context, path string, waiting func()) (unlock func(), err error) {
	reported := false
	err = poll.Wait{For: "the lock " + path, Timeout: timeout, Every: 100 * time.Millisecond}.Until(ctx, func(context.Context) (bool, error) {
		file, err := try(path)
		if err != nil {
			return false, poll.Final(err)
		}
		if file != nil {
			unlock = func() { release(file) }
			return true, nil
		}
		if !reported {
			reported = true
			waiting()
		}
		return false, nil
	})
	return unlock, err
}

// try returns the locked file, or nil if another process has the lock.
func try(path string) (*os.File, error) {
	for {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return nil, fmt.Errorf("create the directory of the lock: %w", err)
		}
		file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		if errors.Is(err, fs.ErrNotExist) {
			continue // the previous holder just removed the directory
		}
		if err != nil {
			return nil, fmt.Errorf("open the lock: %w", err)
		}
		err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil && names(path, file) {
			return file, nil
		}
		release(file)
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, nil
		}
		if err != nil && !errors.Is(err, syscall.EINTR) {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
	}
}

// names reports whether a path names an open file: the previous holder might
// have removed it with its directory.
func names(path string, file *os.File) bool {
	found, err := os.Stat(path)
	if err != nil {
		return false
	}
	opened, err := file.Stat()
	return err == nil && os.SameFile(found, opened)
}

// release unlocks at once. Closing alone unlocks when the last copy of the
// file is closed, and a command that is being started has one until it runs.
func release(file *os.File) {
	_ = syscall.Flock(int(file.Fd()), syscall.LOCK_UN) // if this fails, closing unlocks
	file.Close()
}
