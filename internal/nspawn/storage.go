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
	for _, made := range []struct {
		name string
		mode os.FileMode
	}{{path.Dir(dir), 0o700}, {dir, 0o777}} {
		err := root.Mkdir(made.name, made.mode)
		if errors.Is(err, fs.ErrExist) {
			continue // its mode is that of the operator
		}
		if err == nil {
			err = root.Chmod(made.name, made.mode) // whatever the umask
		}
		if err != nil {
			return err
		}
	}
	return nil
}
