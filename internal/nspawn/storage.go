package nspawn

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"

	"pai.dev/pai/internal/layout"
)

// makeStorage makes the directory for the data of jobs on the disk of the machine, unless it
// exists. In it, the kubelet makes a directory for each user, with the mode of this one: all
// users, because the user of a task is the one of its image. Another user of the machine cannot enter
// the directory above. Links on the disk lead nowhere else.
func (m container) makeStorage() error {
	root, err := os.OpenRoot(m.root())
	if err != nil {
		return err
	}
	defer root.Close()
	dir := strings.TrimPrefix(layout.LocalStorage, "/")
	if err := root.MkdirAll(path.Dir(path.Dir(dir)), 0o755); err != nil {
		return err
	}
	if err := makeDirectory(root, path.Dir(dir), 0o700); err != nil {
		return err
	}
	return makeDirectory(root, dir, 0o777)
}

// makeDirectory makes a directory with a mode, whatever the umask. The mode of one that exists is
// that of the operator, so it gets its name only when it has the mode.
func makeDirectory(root *os.Root, name string, mode os.FileMode) error {
	if _, err := root.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	fresh := name + ".new"
	if err := root.Mkdir(fresh, mode); err != nil && !errors.Is(err, fs.ErrExist) { // a killed call left it
		return err
	}
	err := root.Chmod(fresh, mode)
	if err == nil {
		err = root.Rename(fresh, name)
	}
	return err
}
