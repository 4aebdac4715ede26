package inspect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"syscall"

	"pai.dev/pai/internal/layout"
)

// mention matches a path in layout.ProgramsDir in any text.
var mention = regexp.MustCompile(regexp.QuoteMeta(layout.ProgramsDir) + `/([A-Za-z0-9][A-Za-z0-9._+-]*)`)

// users collects what names directories, by the name of the directory.
type users map[string][]string

// add adds a user of all directories that a text names.
func (u users) add(user string, texts ...string) {
	for _, text := range texts {
		for _, match := range mention.FindAllStringSubmatch(text, -1) {
			if name := match[1]; !slices.Contains(u[name], user) {
				u[name] = append(u[name], user)
			}
		}
	}
}

// addUsers sets what names each directory.
func (i *inspection) addUsers(ctx context.Context, found []Directory) error {
	links, err := i.roleLinks()
	if err != nil {
		return err
	}
	named := users{}
	err = errors.Join(i.bundleUsers(ctx, named), i.processUsers(ctx, named), i.fileUsers(named))
	if err != nil {
		return err
	}
	for n := range found {
		found[n].Roles, found[n].Users = links[found[n].Name], named[found[n].Name]
	}
	return nil
}

// roleLinks are the roles by the directory that their link names, also those whose
// link is being moved.
func (i *inspection) roleLinks() (map[string][]string, error) {
	names, err := i.names(layout.RolesDir)
	if err != nil {
		return nil, err
	}
	links := map[string][]string{}
	for _, name := range names {
		target, err := i.linkOf(layout.RoleLink(layout.Role(name)))
		if errors.Is(err, syscall.EINVAL) { // no link
			continue
		}
		if err != nil {
			return nil, err
		}
		links[target] = append(links[target], name)
	}
	return links, nil
}

// bundleUsers adds the containers and sandboxes whose bundle directory names a
// directory: the shim that containerd runs when it starts again or deletes the
// container (shim-binary-path), runc (runtime, options.json), hooks, and mounts
// (config.json). A bundle without a process counts, because containerd reads it.
func (i *inspection) bundleUsers(ctx context.Context, named users) error {
	namespaces, err := i.names(layout.ContainerdTasks)
	if err != nil {
		return err
	}
	if _, err := i.tasks(); err != nil {
		return err
	}
	for _, namespace := range namespaces {
		ids, err := i.names(path.Join(layout.ContainerdTasks, namespace))
		if err != nil {
			return err
		}
		for _, id := range ids {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			bundle := path.Join(layout.ContainerdTasks, namespace, id)
			texts, err := i.texts(bundle)
			if err != nil {
				return err
			}
			if len(texts) > 0 {
				named.add(i.nameOfBundle(bundle, id), texts...)
			}
		}
	}
	return nil
}

// nameOfBundle describes the container of a bundle directory.
func (i *inspection) nameOfBundle(bundle, id string) string {
	c := Container{ID: id}
	sandbox := i.identify(bundle, &c)
	switch {
	case c.Pod == "":
		return "container " + id
	case sandbox:
		return fmt.Sprintf("sandbox of pod %s/%s", c.Namespace, c.Pod)
	default:
		return fmt.Sprintf("container %s of pod %s/%s", c.Name, c.Namespace, c.Pod)
	}
}

// processUsers adds the processes whose program or command line names a directory.
func (i *inspection) processUsers(ctx context.Context, named users) error {
	dirs, err := filepath.Glob(i.at("/proc/[0-9]*"))
	if err == nil && len(dirs) == 0 {
		err = errors.New("no process found")
	}
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil || pid == os.Getpid() && i.Root == "/" {
			continue // this program
		}
		program, err := os.Readlink(dir + "/exe")
		if err != nil && !ended(err) {
			return i.plain(err)
		}
		command, err := os.ReadFile(dir + "/cmdline")
		if err != nil && !ended(err) {
			return i.plain(err)
		}
		named.add(fmt.Sprintf("process %d (%s)", pid, path.Base(program)), program, string(command))
	}
	return nil
}

// ended reports whether an error is that of a process that ended, or of one of the
// kernel, which has no program.
func ended(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) }

// fileUsers adds the units of systemd and the files of the configuration that name a
// directory.
func (i *inspection) fileUsers(named users) error {
	for _, dir := range []string{layout.UnitsDir, "/run/systemd/system", "/run/systemd/transient", layout.ConfigDir, path.Dir(layout.CNIConfig)} {
		names, err := i.names(dir)
		if err != nil {
			return err
		}
		for _, name := range append(names, "") {
			texts, err := i.namedTexts(path.Join(dir, name))
			if err != nil {
				return err
			}
			for file, text := range texts {
				named.add("file "+file, text)
			}
		}
	}
	return nil
}

// maxText bounds the files that are searched: a specification of a container has
// some kilobytes.
const maxText = 4 << 20

// texts are the contents of the regular files in a directory.
func (i *inspection) texts(dir string) ([]string, error) {
	named, err := i.namedTexts(dir)
	var texts []string
	for _, text := range named {
		texts = append(texts, text)
	}
	return texts, err
}

// namedTexts are the contents of the regular files in a directory, by path; nothing
// if it is none. It follows no link, and a file that was removed meanwhile is absent.
func (i *inspection) namedTexts(dir string) (map[string]string, error) {
	entries, err := os.ReadDir(i.at(dir))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil, nil
	}
	if err != nil {
		return nil, i.plain(err)
	}
	texts := map[string]string{}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		text, err := i.text(dir + "/" + e.Name())
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		texts[dir+"/"+e.Name()] = text
	}
	return texts, nil
}

// text is the content of a regular file.
func (i *inspection) text(name string) (string, error) {
	f, err := os.OpenFile(i.at(name), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", i.plain(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxText+1))
	if err == nil && len(data) > maxText {
		err = &fs.PathError{Op: "read", Path: name, Err: errors.New("it is too large to be searched")}
	}
	return string(data), i.plain(err)
}
