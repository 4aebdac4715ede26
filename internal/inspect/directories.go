package inspect

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/pai"
)

// Directory is a directory in layout.ProgramsDir: that of a version, an incomplete
// one, or one that PAI did not write.
type Directory struct {
	Name  string `json:"name"`
	Bytes int64  `json:"bytes"` // on the disk
	// Incomplete: a copy or a removal did not finish.
	Incomplete bool `json:"incomplete,omitempty"`
	// Foreign are the paths that PAI did not write: the directory, or some in it.
	Foreign []string `json:"foreign,omitempty"`
	// Roles are the roles whose link names the directory.
	Roles []string `json:"roles,omitempty"`
	// Users are what else names it: containers, processes, and files.
	Users []string `json:"users,omitempty"`
}

// Unused reports whether PAI wrote all of a directory, and nothing names it.
func (d Directory) Unused() bool { return len(d.Foreign)+len(d.Roles)+len(d.Users) == 0 }

// directories reports the directories of versions with what uses them, and removes
// the requested ones that are unused. If a user cannot be read, no directory is
// reported, and none is removed.
func (i *inspection) directories(ctx context.Context) error {
	names, err := i.names(layout.ProgramsDir)
	if err != nil {
		return err
	}
	found := []Directory{}
	for _, name := range names {
		if dir := layout.VersionDir(name); dir == layout.RolesDir || dir == layout.HelperDir {
			continue
		}
		d, err := i.directory(ctx, name)
		if err != nil {
			return err
		}
		found = append(found, d)
	}
	if err := i.addUsers(ctx, found); err != nil {
		return err
	}
	i.report.Directories = found
	return i.removeDirectories(ctx, found)
}

// directory reports what is in a directory. It follows no link, and does not enter
// other file systems or what PAI did not write.
func (i *inspection) directory(ctx context.Context, name string) (Directory, error) {
	d := Directory{Name: name, Incomplete: strings.HasSuffix(name, layout.IncompleteSuffix)}
	dir := layout.VersionDir(name)
	root, err := os.Lstat(i.at(dir))
	if err != nil {
		return d, i.plain(err)
	}
	if !root.IsDir() || !d.Incomplete && !i.isVersion(name) {
		d.Foreign = []string{dir}
		return d, nil
	}
	err = filepath.WalkDir(i.at(dir), func(file string, entry fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return i.plain(err)
		}
		info, err := entry.Info()
		if err != nil {
			return i.plain(err)
		}
		if s, ok := info.Sys().(*syscall.Stat_t); ok {
			d.Bytes += s.Blocks * 512
		}
		relative := strings.TrimPrefix(strings.TrimPrefix(file, i.at(dir)), "/")
		switch {
		case deviceOf(info) != deviceOf(root):
		case entry.IsDir() && (relative == "" || layout.IsVersionDirectory(relative)):
			return nil
		case entry.Type().IsRegular() && layout.IsVersionFile(relative):
			return nil
		}
		d.Foreign = append(d.Foreign, path.Join(dir, relative))
		if entry.IsDir() {
			return fs.SkipDir
		}
		return nil
	})
	return d, err
}

// isVersion reports whether a directory has the file that PAI writes last into the
// directory of a version, for this version.
func (i *inspection) isVersion(name string) bool {
	var release struct {
		Kubernetes pai.KubernetesVersion `json:"kubernetes"`
	}
	data, err := i.read(layout.VersionDir(name) + "/" + layout.ReleaseFile)
	return err == nil && json.Unmarshal(data, &release) == nil && release.Kubernetes != "" &&
		release.Kubernetes.Label() == pai.KubernetesVersion(name).Label()
}

// removeDirectories removes the requested directories that are unused. A removal
// that is interrupted leaves an incomplete directory, which the next one removes.
func (i *inspection) removeDirectories(ctx context.Context, found []Directory) error {
	if len(i.request.Remove) == 0 {
		return nil
	}
	root, err := os.OpenRoot(i.at(layout.ProgramsDir))
	if err != nil {
		return i.plain(err)
	}
	defer root.Close()
	// Incomplete directories first: they have the name that a complete one gets.
	incompleteFirst := func(a, b Directory) int { return cmp.Compare(rank(a), rank(b)) }
	for _, d := range slices.SortedStableFunc(slices.Values(found), incompleteFirst) {
		if !slices.Contains(i.request.Remove, d.Name) {
			continue
		}
		if err := removeDirectory(ctx, root, d); err != nil {
			i.problem(i.plain(err), string(Directories), d.Name)
			continue
		}
		i.report.Removed = append(i.report.Removed, d.Name)
	}
	return nil
}

func rank(d Directory) int {
	if d.Incomplete {
		return 0
	}
	return 1
}

// removeDirectory removes one directory, in steps that can be interrupted.
func removeDirectory(ctx context.Context, root *os.Root, d Directory) error {
	if !d.Unused() {
		return errors.New("it is in use, or has files that PAI did not write")
	}
	name := d.Name
	if !d.Incomplete {
		name += layout.IncompleteSuffix
		if _, err := root.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s exists", layout.VersionDir(name))
		}
		if err := root.Rename(d.Name, name); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return root.RemoveAll(name)
}
