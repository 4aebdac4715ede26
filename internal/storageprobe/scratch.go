package storageprobe

import (
	"errors"
	"io/fs"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// scratchName is the name that a file has for a moment on a file system where every file has
	// one. Whatever users of the storage put there is left as it is.
	scratchName = ".pai-storage-check"
	// scratchAge is how old a file must be that a killed probe left.
	scratchAge = time.Minute
	// someUser is neither root nor a user of a machine, as in images of the field.
	someUser = 65532
)

// scratchFile makes a file in an open directory, and leaves no name of it.
func scratchFile(dir *os.File) (*os.File, error) {
	fd, err := unix.Openat(int(dir.Fd()), ".", unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EISDIR) {
		fd, err = namedFile(int(dir.Fd()))
	}
	if err != nil {
		return nil, &fs.PathError{Op: "make a file in", Path: dir.Name(), Err: err}
	}
	return os.NewFile(uintptr(fd), dir.Name()), nil
}

// namedFile is for a file system where every file has a name, such as NFS. The file is
// removed at once, and its content when it is closed, also by a kill. Until then, a client of NFS
// has it under a name that starts with .nfs. It stays if the server is silent when it is closed,
// and is never removed by name: others of such a name are open files of tasks.
func namedFile(dir int) (int, error) {
	removeLeftover(dir)
	const flags = unix.O_RDWR | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC
	name := scratchName
	fd, err := unix.Openat(dir, name, flags, 0o600)
	if errors.Is(err, unix.EEXIST) { // another machine is making one, or a user did
		name = scratchName + "-" + time.Now().UTC().Format("150405.000000000")
		fd, err = unix.Openat(dir, name, flags, 0o600)
	}
	if err != nil {
		return 0, err
	}
	if err := unix.Unlinkat(dir, name, 0); err != nil {
		return 0, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

// removeLeftover removes the file of a probe that was killed between two calls: it is empty.
func removeLeftover(dir int) {
	var s unix.Stat_t
	err := unix.Fstatat(dir, scratchName, &s, unix.AT_SYMLINK_NOFOLLOW)
	if err == nil && s.Mode&unix.S_IFMT == unix.S_IFREG && s.Size == 0 && time.Since(time.Unix(s.Mtim.Unix())) > scratchAge {
		_ = unix.Unlinkat(dir, scratchName, 0) // if it stays, the file gets another name
	}
}

// othersCanWrite reports whether a user without rights can make a file in an open directory. Only
// root can find out, and not in every container; otherwise it is true. The directories above do not count: a task has
// only the storage.
func othersCanWrite(dir *os.File) bool {
	if os.Geteuid() != 0 {
		return true
	}
	can := make(chan bool)
	go func() {
		// The user of a thread for files. The thread is not used again: it ends with the goroutine.
		runtime.LockOSThread()
		// Of root, each login has group 0, which can have rights that others lack.
		if _, _, failed := unix.RawSyscall(unix.SYS_SETGROUPS, 0, 0, 0); failed != 0 {
			can <- true
			return
		}
		_, _, _ = unix.RawSyscall(unix.SYS_SETFSGID, someUser, 0, 0) // they return the previous user
		_, _, _ = unix.RawSyscall(unix.SYS_SETFSUID, someUser, 0, 0)
		f, err := scratchFile(dir)
		if err == nil {
			_ = f.Close() // nothing was written
		}
		can <- err == nil
	}()
	return <-can
}
